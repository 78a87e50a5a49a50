"""Where a job runs: one Protocol, an implementation a file.

A placement runs argvs, has snapshots and prepared outputs, holds slots, fetches artifacts and
cleans up. Runtimes are written against it and know neither ssh nor the local disk.
"""

from __future__ import annotations

import os
import time
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from jerichoci.machine.artifact_limits import Admission
    from jerichoci.machine.artifacts import Artifact
    from jerichoci.machine.confinement import Confinement
    from jerichoci.machine.outbox import OutboxFollower
    from jerichoci.machine.process import Completed
    from jerichoci.machine.stop import Stop
    from jerichoci.nix.realised import BuildRequest, Observer, Realised
    from jerichoci.placement.operation import Doing, Held, Opening, P, T
    from jerichoci.placement.program import Program, Running

INCUS_SOCKET = "/var/lib/incus/unix.socket"
INCUS_SERVICE_SOCKET = "/run/incus/unix.socket"
INCUS_PROJECT = "pikaci"


@dataclass(frozen=True)
class User:
    """A user by number, and the main group."""

    uid: int
    gid: int


@dataclass(frozen=True)
class IncusSettings:
    """Which Incus a host's guests are made in, and where in it; None leaves it to Incus."""

    socket: str | None = None
    project: str = INCUS_PROJECT
    profile: str = "default"
    pool: str | None = None

    def socket_path(self) -> Path:
        """The daemon's socket on this machine."""
        env = os.environ
        if self.socket or env.get("INCUS_SOCKET"):
            return Path(self.socket or env["INCUS_SOCKET"])
        if env.get("INCUS_DIR"):
            return Path(env["INCUS_DIR"]) / "unix.socket"
        service = Path(INCUS_SERVICE_SOCKET)
        return service if service.exists() else Path(INCUS_SOCKET)


@dataclass(frozen=True)
class StandbySettings:
    """How many guests stand by for later jobs, how long, and the memory without which none does.

    That is what programs could have on the machine when one is to be made.
    """

    guests: int = 0
    minutes: int = 60
    free_mib: int = 2048


@dataclass(frozen=True)
class LocalSettings:
    """What the user's hosts file says of this machine."""

    search_path: Sequence[str] = ()
    """Directories that come first in the PATH of jobs that are processes here."""
    incus: IncusSettings = field(default_factory=IncusSettings)
    standby: StandbySettings = field(default_factory=StandbySettings)


class Route(Protocol):
    """A route to a daemon's socket; its methods are called from threads.

    The route to another machine may break and come back.
    """

    @property
    def socket(self) -> Path:
        """The socket here to connect to."""

    @property
    def where(self) -> str:
        """Where it leads, for people: `at` a socket, or `on` a host."""

    @property
    def is_up(self) -> bool:
        """Whether requests arrive, as far as is known."""

    @property
    def last_failure(self) -> str | None:
        """Why the last request did not arrive, if the route knows better than its user."""

    def clock(self) -> float:
        """Seconds, not counting those in which the route was down."""

    def wait_until_up(self) -> None:
        """Wait until requests arrive; InfrastructureError, if the route will not come back."""


@dataclass(frozen=True)
class LocalRoute:
    """The route to a socket of this machine, which is always up."""

    socket: Path
    is_up: bool = True
    last_failure: str | None = None
    """Not known before a connection attempt."""

    @property
    def where(self) -> str:
        """The socket's path."""
        return f"at {self.socket}"

    def clock(self) -> float:
        """The machine's clock."""
        return time.monotonic()

    def wait_until_up(self) -> None:
        """Return at once."""


class Placement(Protocol):
    """A host.

    Methods raise InfrastructureError if it can't be reached or was lost, and UsageError if it
    can't be used as it is described.
    """

    @property
    def host(self) -> str:
        """The host's name, as records say it."""

    @property
    def is_remote(self) -> bool:
        """Whether it is another machine: what is left there needs the host to be reached."""

    @property
    def state_root(self) -> Path:
        """The directory on the host below which snapshots and workspaces lie."""

    @property
    def user(self) -> User:
        """The owner of files that are made on the host."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What passes from the host's own environment to a host process there; PATH is pikaci's."""

    @property
    def job_path(self) -> str:
        """The PATH of jobs that are processes there, however pikaci was started."""

    def serving(self, run_id: str) -> AbstractAsyncContextManager[None]:
        """Have the host ready for a run, and what the run left there removed in the end."""

    def visiting(self, run_id: str) -> AbstractAsyncContextManager[None]:
        """Have the host ready for a look at what a run left there."""

    def run_directory(self, run_id: str) -> Path:
        """Where on the host workspaces and prepared outputs of a run lie."""

    @property
    def is_lost(self) -> bool:
        """Whether the connection was given up: nothing made there by now will answer."""

    def shorten_waits(self) -> None:
        """Wait no longer for what may take minutes to come back: the run is being stopped."""

    def check(self, system: str) -> None:
        """Refuse jobs for a Nix system that the host isn't."""

    async def do(self, what: Doing[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do one of the `operations` on the host; it raises what the operation does."""

    def hold(self, what: Opening[P], *args: P.args, **kwargs: P.kwargs) -> Held:
        """Hold what one of the `operations` opens on the host, until the block or process ends."""

    async def run(
        self, argv: Sequence[str], *, deadline_secs: float, cwd: Path | None = None
    ) -> Completed:
        """Run a command there to its end."""

    def spawn(self, program: Program) -> AbstractAsyncContextManager[Running]:
        """Start a program there; killed when the block ends. Its log is here."""

    async def confinement(self) -> Confinement:
        """What the host's kernel gives to hold a job; found out once."""

    async def snapshot(self, tree: str) -> Path:
        """Have a snapshot materialised there and say where."""

    async def realise(
        self, builds: Mapping[str, BuildRequest], run_id: str, observer: Observer, stop: Stop
    ) -> None:
        """Build Nix outputs there, rooted for the run; `observer` gets each node's result."""

    async def bring(self, node_id: str, built: Realised, run_id: str) -> Realised:
        """Have there, rooted for the run, what was built here; only what is missing is copied."""

    def outgoing(self, scratch: Path, artifacts: Path) -> Path:
        """Where on the host a process leaves the files that are to be in `artifacts` here."""

    async def fetch_artifacts(
        self,
        directory: Path,
        into: Path,
        cancelled: Callable[[], bool] | None = None,
        admission: Admission | None = None,
    ) -> list[Artifact]:
        """Take what a process left in `directory`, as from a stranger, unless `cancelled`."""

    async def have_files(self, directory: Path, into: Path) -> Path:
        """Have the files of a directory of this machine there, and say where.

        That is the directory itself on this machine, else `into`, which is created.
        """

    async def run_in_foreground(
        self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]
    ) -> int:
        """Run a program there on this process's own terminal or pipes; its exit code."""

    async def incus_route(self) -> Route:
        """The route to the host's Incus."""

    def standby_settings(self) -> StandbySettings:
        """Which guests stand by there; none on a remote host."""

    def incus_settings(self) -> IncusSettings:
        """Which Incus that is, and where in it guests are made."""

    def following(self, outbox: Path, log: Path) -> AbstractAsyncContextManager[OutboxFollower]:
        """Follow what a guest leaves in its outbox: its log into `log`, which is near; its result.

        After a broken connection, reading continues where it ended.
        """

    async def collect(
        self,
        outbox: Path,
        into: Path,
        cancelled: Callable[[], bool] | None = None,
        admission: Admission | None = None,
    ) -> list[Artifact]:
        """Copy what a guest left into a directory that is near, as from a stranger."""

    async def keep(self, path: Path) -> None:
        """Leave a job's directory for a look."""
