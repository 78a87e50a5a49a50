"""This machine."""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.machine import process
from jerichoci.machine.environment import host_environment, job_path
from jerichoci.machine.system import own_system
from jerichoci.nix.own_store import take_valid
from jerichoci.placement import IncusSettings, LocalRoute, LocalSettings, StandbySettings, User
from jerichoci.placement.local_process import spawn
from jerichoci.placement.work import Work
from jerichoci.snapshot.materialise import materialise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from jerichoci.machine.artifact_limits import Admission
    from jerichoci.machine.artifacts import Artifact
    from jerichoci.machine.confinement import Confinement
    from jerichoci.machine.outbox import OutboxFollower
    from jerichoci.machine.process import Completed
    from jerichoci.machine.stop import Stop
    from jerichoci.nix.command import NixOptions
    from jerichoci.nix.realised import BuildRequest, Observer, Realised
    from jerichoci.placement.operation import Doing, Held, Opening, P, T
    from jerichoci.placement.program import Program, Running


class LocalPlacement:
    """This machine, below one state root."""

    is_remote = False
    is_lost = False

    def __init__(
        self, state_root: Path, nix: NixOptions, settings: Callable[[], LocalSettings]
    ) -> None:
        """`settings` reads what the user's hosts file says, when it is first needed."""
        self.state_root = state_root
        self.host = os.uname().nodename or "localhost"
        self.user = User(os.getuid(), os.getgid())
        self._work = Work(state_root, nix)
        self._settings = cache(settings)
        self._environment: Mapping[str, str] | None = None
        self._job_path: str | None = None
        self._served = 0
        """The runs that it serves now."""

    @property
    def environment(self) -> Mapping[str, str]:
        if self._environment is None:
            self._environment = host_environment()
        return self._environment

    @property
    def job_path(self) -> str:
        """The well-known directories that are there, after those that the user's file names."""
        if self._job_path is None:
            self._job_path = job_path(self._settings().search_path)
        return self._job_path

    @asynccontextmanager
    async def serving(self, run_id: str) -> AsyncIterator[None]:
        """Leave nothing going on; who opens a run makes its directory, who closes it clears it."""
        del run_id
        self._served += 1
        try:
            yield
        finally:
            self._served -= 1
            if not self._served:
                await self._work.close()

    def visiting(self, run_id: str) -> AbstractAsyncContextManager[None]:
        del run_id
        return nullcontext()

    def run_directory(self, run_id: str) -> Path:
        return self._work.state.run(run_id).root

    def shorten_waits(self) -> None:
        """Nothing here is far away."""

    def check(self, system: str) -> None:
        """Refuse jobs for another kind of machine, and a hosts file that is wrong."""
        if system != own_system():
            raise UsageError(
                f"the target is for {system}, this machine is {own_system()}",
                "run it there, or say --system if the target has one for this machine",
            )
        self._settings()

    async def do(self, what: Doing[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await what(self._work, *args, **kwargs)

    def hold(self, what: Opening[P], *args: P.args, **kwargs: P.kwargs) -> Held:
        return what(self._work, *args, **kwargs)

    async def run(
        self, argv: Sequence[str], *, deadline_secs: float, cwd: Path | None = None
    ) -> Completed:
        return await process.run(argv, deadline_secs=deadline_secs, cwd=cwd)

    def spawn(self, program: Program) -> AbstractAsyncContextManager[Running]:
        return spawn(program, self._work.starter)

    async def confinement(self) -> Confinement:
        return await self._work.confinement()

    async def snapshot(self, tree: str) -> Path:
        return await materialise(self.state_root, tree)

    async def realise(
        self, builds: Mapping[str, BuildRequest], run_id: str, observer: Observer, stop: Stop
    ) -> None:
        """Have Nix outputs in this machine's store."""
        gcroots = self._work.state.run(run_id).gcroots
        if not self._work.nix.store and take_valid(builds, gcroots, observer):
            return
        from jerichoci.nix.realise import Realiser

        realiser = Realiser(self._work.nix, builds, gcroots, observer, self.confinement)
        await realiser.run(stop)

    async def bring(self, node_id: str, built: Realised, run_id: str) -> Realised:
        """What was built here is here."""
        del node_id, run_id
        return built

    def outgoing(self, scratch: Path, artifacts: Path) -> Path:
        del scratch
        return artifacts

    async def fetch_artifacts(
        self,
        directory: Path,
        into: Path,
        cancelled: Callable[[], bool] | None = None,
        admission: Admission | None = None,
    ) -> list[Artifact]:
        del into
        from jerichoci.machine.artifacts import take_artifacts

        return await asyncio.to_thread(take_artifacts, directory, cancelled, admission)

    async def have_files(self, directory: Path, into: Path) -> Path:
        del into
        return directory

    async def run_in_foreground(
        self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]
    ) -> int:
        from jerichoci.machine.foreground import run_in_foreground

        return await run_in_foreground(argv, cwd=cwd, env=env)

    async def incus_route(self) -> LocalRoute:
        return LocalRoute(self.incus_settings().socket_path())

    def standby_settings(self) -> StandbySettings:
        return self._settings().standby

    def incus_settings(self) -> IncusSettings:
        return self._settings().incus

    def following(self, outbox: Path, log: Path) -> AbstractAsyncContextManager[OutboxFollower]:
        from jerichoci.machine.outbox import follow_outbox

        return follow_outbox(outbox, log)

    async def collect(
        self,
        outbox: Path,
        into: Path,
        cancelled: Callable[[], bool] | None = None,
        admission: Admission | None = None,
    ) -> list[Artifact]:
        from jerichoci.machine.outbox import copy_outbox

        return await asyncio.to_thread(copy_outbox, outbox, into, cancelled, admission)

    async def keep(self, path: Path) -> None:
        """Nothing to do: it is kept until its run is removed."""
