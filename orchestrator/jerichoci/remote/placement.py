"""A host that ssh reaches: the agent there does what is asked, and nothing but ssh is needed here.

The agent works as `LocalPlacement` does, below the host's work directory; here is what it takes to
bring it what it lacks, and to bring back what jobs print and leave.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.machine.outbox import OutboxFollower, OutboxState, follow
from jerichoci.placement import IncusSettings, Route, StandbySettings, User, operations
from jerichoci.remote.agent import agent_operations as host_operations
from jerichoci.remote.artifacts import fetch, send
from jerichoci.remote.host_notes import host_notes, note_name, run_name
from jerichoci.remote.host_refusals import check_programs, unusable
from jerichoci.remote.nix_store import FarStore
from jerichoci.remote.process import FarProcess, far_process
from jerichoci.remote.snapshot import bring_snapshot
from jerichoci.state.ledger import has_guests
from jerichoci.state.retention import KEEP_SECS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from jerichoci.machine.artifact_limits import Admission
    from jerichoci.machine.artifacts import Artifact
    from jerichoci.machine.confinement import Confinement
    from jerichoci.machine.process import Completed
    from jerichoci.machine.stop import Stop
    from jerichoci.nix.command import NixOptions
    from jerichoci.nix.realised import BuildRequest, Observer, Realised
    from jerichoci.placement.operation import Doing, Held, Opening, P, T
    from jerichoci.placement.program import Program
    from jerichoci.remote.incus_socket import SshRoute
    from jerichoci.remote.session import Session
    from jerichoci.state.layout import StateLayout

    Clearing = Callable[[Session, StateLayout], AbstractAsyncContextManager[None]]


def _clearing_nothing(_session: Session, _state: StateLayout) -> AbstractAsyncContextManager[None]:
    return nullcontext()


class RemotePlacement:
    """The host of a session, which gets what it lacks from a state root of this machine.

    While it serves a run, `clearing` removes what dead runs left on it.
    """

    is_remote = True

    def __init__(
        self,
        session: Session,
        state: StateLayout,
        nix: NixOptions,
        clearing: Clearing = _clearing_nothing,
    ) -> None:
        self.host = session.name
        self._session = session
        self._state = state
        self._store = FarStore(session, nix)
        self._clearing = clearing
        self._run_id = ""
        """The run that the host is used for."""
        self._confinement: tuple[str, Confinement] | None = None
        """What the agent of that id said: it names open files of that agent."""
        self._route: SshRoute | None = None
        self._forwards = AsyncExitStack()
        self._keeps = False
        """Whether the run's directory is kept on the host."""

    @property
    def state_root(self) -> Path:
        return self._session.facts.work_dir

    @property
    def user(self) -> User:
        return User(self._session.facts.uid, self._session.facts.gid)

    @property
    def environment(self) -> Mapping[str, str]:
        return self._session.facts.environment

    @property
    def job_path(self) -> str:
        """As the agent has it."""
        return self._session.facts.job_path

    @property
    def is_lost(self) -> bool:
        return self._session.lost is not None

    def shorten_waits(self) -> None:
        self._session.shorten_waits()

    @asynccontextmanager
    async def visiting(self, run_id: str) -> AsyncIterator[None]:
        """Connect."""
        await self._session.open()
        self._run_id = run_id
        try:
            yield
        finally:
            await self._leave_incus()

    @asynccontextmanager
    async def serving(self, run_id: str) -> AsyncIterator[None]:
        """Connect, and hold a directory for the run."""
        await self._session.open()
        self._session.reset_waits()
        self._run_id = run_id
        notes = host_notes(self._state)
        notes.enter(self._session, run_id)
        try:
            async with (
                self._holding_run(run_id),
                self._clearing(self._session, self._state),
            ):
                yield
        finally:
            await self._leave_incus()
            leaves = self._keeps or has_guests(self._state, self.host, run_id)
            ends = self.is_lost or self._session.owes
            if ends or leaves:
                notes.leave(self._session, run_id, ends=ends)
            else:
                notes.forget(note_name(self.host, run_id))

    @asynccontextmanager
    async def _holding_run(self, run_id: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as held:
            name = run_name(self._state, run_id)
            holding = self._session.hold(host_operations.open_run, name)
            try:
                await held.enter_async_context(holding)
            except OSError as error:
                where, why = str(self.state_root), error.strerror or str(error)
                raise unusable(self.host, where, error.errno, why) from error
            yield

    def run_directory(self, run_id: str) -> Path:
        """The run's directory below the work directory; other owners' runs have other names."""
        return self.state_root / "runs" / run_name(self._state, run_id)

    def check(self, system: str) -> None:
        """Refuse jobs for another kind of machine, and a host that lacks what each job needs."""
        check_programs(self.host, self._session.facts.programs)
        found = self._session.facts.system
        if system != found:
            raise UsageError(
                f"the target is for {system}, host {self.host} is {found}",
                "place the job on a host for that system",
            )

    async def do(self, what: Doing[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._session.do(what, *args, **kwargs)

    def hold(self, what: Opening[P], *args: P.args, **kwargs: P.kwargs) -> Held:
        return self._session.hold(what, *args, **kwargs)

    async def run(
        self, argv: Sequence[str], *, deadline_secs: float, cwd: Path | None = None
    ) -> Completed:
        return await self.do(operations.run, argv, deadline_secs, cwd)

    def spawn(self, program: Program) -> AbstractAsyncContextManager[FarProcess]:
        return far_process(self._session, program)

    async def confinement(self) -> Confinement:
        agent = self._session.id
        if self._confinement is None or self._confinement[0] != agent:
            found = await self.do(operations.confinement)
            self._confinement = agent, found
        return self._confinement[1]

    async def snapshot(self, tree: str) -> Path:
        run = self.run_directory(self._run_id)
        return await bring_snapshot(self._session, self._state.root, tree, run)

    async def realise(
        self, builds: Mapping[str, BuildRequest], run_id: str, observer: Observer, stop: Stop
    ) -> None:
        gcroots = self.run_directory(run_id) / "gcroots"
        await self._store.realise(builds, gcroots, observer, stop)

    async def bring(self, node_id: str, built: Realised, run_id: str) -> Realised:
        link = self.run_directory(run_id) / "gcroots" / node_id
        return await self._store.bring(built, link)

    def outgoing(self, scratch: Path, artifacts: Path) -> Path:
        del artifacts
        return scratch / "artifacts"

    async def fetch_artifacts(
        self,
        directory: Path,
        into: Path,
        cancelled: Callable[[], bool] | None = None,
        admission: Admission | None = None,
    ) -> list[Artifact]:
        return await fetch(self._session, directory, into, cancelled, admission)

    async def keep(self, path: Path) -> None:
        """Keep the run's directory there for `KEEP_SECS`."""
        del path
        run = self.run_directory(self._run_id)
        await self._session.do(host_operations.keep_run, run, KEEP_SECS)
        self._keeps = True

    async def have_files(self, directory: Path, into: Path) -> Path:
        await send(self._session, directory, into)
        return into

    async def run_in_foreground(
        self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]
    ) -> int:
        from jerichoci.remote.ssh.foreground import run_in_foreground

        return await run_in_foreground(await self._session.connection(), argv, cwd=cwd, env=env)

    async def incus_route(self) -> Route:
        if self._route is None:
            from jerichoci.remote.incus_socket import ssh_route

            opening = ssh_route(self._session, self._session.host.config.incus.socket)
            self._route = await self._forwards.enter_async_context(opening)
        return self._route

    def standby_settings(self) -> StandbySettings:
        return StandbySettings()

    def incus_settings(self) -> IncusSettings:
        """As the host's settings say; with the socket there, once it was reached."""
        settings = self._session.host.config.incus.settings
        return replace(settings, socket=self._route.there) if self._route else settings

    async def _leave_incus(self) -> None:
        self._route = None
        await self._forwards.aclose()

    def following(self, outbox: Path, log: Path) -> AbstractAsyncContextManager[OutboxFollower]:

        async def watch(offset: int, wait_secs: float, has_started: bool) -> OutboxState:  # noqa: FBT001 - a `Watch`
            watching = host_operations.watch_outbox
            return await self.do(watching, outbox, offset, wait_secs, has_started=has_started)

        return follow(watch, log)

    async def collect(
        self,
        outbox: Path,
        into: Path,
        cancelled: Callable[[], bool] | None = None,
        admission: Admission | None = None,
    ) -> list[Artifact]:
        return await fetch(self._session, outbox, into, cancelled, admission, is_outbox=True)
