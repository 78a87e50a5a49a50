"""This machine."""

from __future__ import annotations

import asyncio
import os
import signal
import weakref
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.machine import memory, process, slots
from jerichoci.machine.confinement import Confinement, own_snapshots, probe
from jerichoci.machine.ending import Report
from jerichoci.machine.environment import host_environment, job_path
from jerichoci.machine.pump import pumping
from jerichoci.machine.system import own_system
from jerichoci.machine.workspace import Workspace
from jerichoci.nix.realise import Realiser
from jerichoci.placement import User
from jerichoci.snapshot.materialise import materialise
from jerichoci.state.layout import StateLayout, make_private
from jerichoci.state.lock import lock
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from jerichoci.machine.artifacts import Artifact
    from jerichoci.machine.ending import Ending
    from jerichoci.machine.memory import MemoryGroup
    from jerichoci.machine.outbox import OutboxFollower
    from jerichoci.machine.pump import Pump
    from jerichoci.machine.slots import Resources
    from jerichoci.machine.stop import Stop
    from jerichoci.nix.command import NixOptions
    from jerichoci.nix.guest_store import View
    from jerichoci.nix.realised import BuildRequest, Observer, Realised
    from jerichoci.plan.incus_site import IncusSite
    from jerichoci.runtime.incus.client import Incus


class LocalProcess:
    """A process group on this machine and the pump that takes what it prints."""

    def __init__(
        self,
        leader: asyncio.subprocess.Process,
        pump: Pump,
        report: Report,
        group: MemoryGroup | None = None,
    ) -> None:
        self._leader = leader
        self._pump = pump
        self._report = report
        self._group = group

    async def wait(self) -> Ending:
        """Wait for the leader's end, and for its output to be in the log."""
        code = await self._leader.wait()
        # What the leader left in its group; a PID namespace has none left.
        self.kill()
        await self._pump.drain()
        ending = self._report.ending(code)
        return replace(ending, out_of_memory=bool(self._group and self._group.has_killed()))

    async def ended_within(self, secs: float) -> bool:
        """As it says itself: this process may have been stopped meanwhile."""
        return self._report.lived_within(secs)

    def terminate(self) -> None:
        """TERM the group."""
        process.signal_group(self._leader.pid, signal.SIGTERM)

    def kill(self) -> None:
        """KILL the group."""
        process.signal_group(self._leader.pid, signal.SIGKILL)


class LocalPlacement:
    """This machine, below one state root."""

    def __init__(
        self, state_root: Path, nix: NixOptions, search_path: Sequence[str] | None = None
    ) -> None:
        self.state_root = state_root
        self.host = os.uname().nodename or "localhost"
        self._layout = StateLayout(state_root)
        self._nix = nix
        self._search_path = search_path
        self._capacity = slots.local_capacity()
        self._probing: asyncio.Task[Confinement] | None = None
        self._incus: Incus | None = None
        self._site: IncusSite | None = None
        self.user = User(os.getuid(), os.getgid())

    @property
    def environment(self) -> Mapping[str, str]:
        """This process's environment, as far as it passes on."""
        return host_environment()

    @property
    def job_path(self) -> str:
        """The well-known directories that are there, after those that the user's file names."""
        return job_path(self._directories())

    def _directories(self) -> Sequence[str]:
        if self._search_path is None:
            from jerichoci.plan.hosts import load_hosts

            self._search_path = load_hosts().local.search_path
        return self._search_path

    @asynccontextmanager
    async def serving(self, run_id: str) -> AsyncIterator[None]:
        """Leave nothing going on; who opens a run makes its directory, who closes it clears it."""
        del run_id
        try:
            yield
        finally:
            probing, self._probing = self._probing, None
            if probing is not None:
                # Cancelled by the end of the loop, asyncio may wait for its children for good.
                probing.cancel()
                await asyncio.gather(probing, return_exceptions=True)

    @asynccontextmanager
    async def visiting(self, run_id: str) -> AsyncIterator[None]:
        """Nothing: here is here."""
        del run_id
        yield

    def run_directory(self, run_id: str) -> Path:
        """The run's own directory."""
        return self._layout.run(run_id).root

    @property
    def is_away(self) -> bool:
        """This machine isn't."""
        return False

    @property
    def is_lost(self) -> bool:
        """This machine isn't."""
        return False

    def hurry(self) -> None:
        """Nothing here is far away."""

    def check(self, system: str) -> None:
        """Refuse jobs for another kind of machine, and a hosts file that is wrong."""
        if system != own_system():
            raise UsageError(
                f"the target is for {system}, this machine is {own_system()}",
                "run it there, or say --system if the target has one for this machine",
            )
        self._directories()

    async def run(
        self, argv: Sequence[str], *, deadline_secs: float, cwd: Path | None = None
    ) -> process.Completed:
        """Run a command to its end."""
        return await process.run(argv, deadline_secs=deadline_secs, cwd=cwd)

    @asynccontextmanager
    async def spawn(  # noqa: PLR0913 - what a process needs
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        notes: Path,
        memory_mib: int | None = None,
    ) -> AsyncIterator[LocalProcess]:
        """Start a program whose output goes to `log`, never through this process."""
        with closing(Report()) as report:
            async with (
                pumping(log) as pump,
                memory.limited(memory_mib) as group,
                process.child(
                    group.entering(argv) if group else argv,
                    cwd=cwd,
                    env=env,
                    stdin=report.file,
                    stdout=pump.sink,
                    stderr=pump.sink,
                ) as leader,
            ):
                pump.hand_over()
                process.record_group(notes, leader.pid)
                running = LocalProcess(leader, pump, report, group)
                try:
                    yield running
                finally:
                    running.kill()

    async def confinement(self) -> Confinement:
        """What this machine's kernel gives to hold a job."""
        if self._probing is None:
            self._probing = asyncio.ensure_future(self._probe())
        return await asyncio.shield(self._probing)

    async def _probe(self) -> Confinement:
        scratch = self._layout.slots / f"probe-{os.urandom(4).hex()}"
        found = replace(await probe(scratch), memory=await memory.can_limit())
        snapshots = await own_snapshots(self._layout.snapshots) if found.overlay else None
        if snapshots is None:
            return found
        weakref.finalize(self, os.close, snapshots)
        return found.entering(f"/proc/{os.getpid()}/fd/{snapshots}", self.state_root)

    def slot(self, wanted: Resources) -> AbstractAsyncContextManager[None]:
        """Hold what a job takes of this machine."""
        return slots.holding(self._layout.slots, self._capacity, wanted)

    async def snapshot(self, tree: str) -> Path:
        """Have a snapshot below the state root."""
        return await materialise(self.state_root, tree)

    async def realise(
        self, builds: Mapping[str, BuildRequest], run_id: str, observer: Observer, stop: Stop
    ) -> None:
        """Have Nix outputs in this machine's store."""
        gcroots = self._layout.run(run_id).gcroots
        realiser = Realiser(self._nix, builds, gcroots, observer, self.confinement)
        await realiser.run(stop)

    async def bring(self, node_id: str, built: Realised, run_id: str) -> Realised:
        """What was built here is here."""
        del node_id, run_id
        return built

    def outgoing(self, scratch: Path, artifacts: Path) -> Path:
        """The place where they are to be."""
        del scratch
        return artifacts

    async def fetch_artifacts(
        self, directory: Path, into: Path, cancelled: Callable[[], bool] | None = None
    ) -> list[Artifact]:
        """Take stock of what lies here already."""
        del into
        from jerichoci.machine.artifacts import take_artifacts

        return await asyncio.to_thread(take_artifacts, directory, cancelled)

    def lock(
        self, name: str, deadline_secs: float, *, shared: bool = False
    ) -> AbstractAsyncContextManager[None]:
        """Hold a lock of the state root."""
        return lock(self._layout.slots / f"{name}.lock", deadline_secs, shared=shared)

    async def make_directory(self, path: Path) -> None:
        """Create a directory and those above it."""
        make_private(path)

    async def make_workspace(self, root: Path) -> None:
        """Create the directories of a workspace."""
        Workspace(root).make()

    async def write(self, path: Path, data: bytes) -> None:
        """Write a file."""
        path.write_bytes(data)

    async def read(self, path: Path, limit: int) -> bytes | None:
        """The first bytes of a file."""
        try:
            with path.open("rb") as file:
                return file.read(limit)
        except FileNotFoundError:
            return None

    async def attend(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> int:
        """Run a program that has the terminal."""
        from jerichoci.machine.foreground import attend

        return await attend(argv, cwd=cwd, env=env)

    async def incus(self) -> Incus:
        """This machine's Incus."""
        if self._incus is None:
            from jerichoci.runtime.incus.client import Incus

            site = self.incus_site()
            self._incus = Incus(site.socket_path(), site.project)
        return self._incus

    def incus_site(self) -> IncusSite:
        """As this user's hosts file says."""
        if self._site is None:
            from jerichoci.plan.hosts import local_site

            self._site = local_site()
        return self._site

    async def make_outbox(self, path: Path) -> None:
        """Create a directory that others can enter who get past the one above it."""
        make_private(path.parent)
        path.mkdir()
        path.chmod(0o755)  # whatever the umask

    def following(self, outbox: Path, log: Path) -> AbstractAsyncContextManager[OutboxFollower]:
        """Follow what a guest leaves here."""
        from jerichoci.machine.outbox import follow_outbox

        return follow_outbox(outbox, log)

    async def collect(
        self, outbox: Path, into: Path, cancelled: Callable[[], bool] | None = None
    ) -> list[Artifact]:
        """Copy what a guest left here."""
        from jerichoci.machine.outbox import copy_outbox

        return await asyncio.to_thread(copy_outbox, outbox, into, cancelled)

    async def guest_view(self, outputs: Sequence[str], lease: Path) -> View | None:
        """Have a closure in this state root's guest store."""
        from jerichoci.nix.guest_store import GuestStore

        return (
            await GuestStore(self.state_root, self._nix).view(outputs, lease) if outputs else None
        )

    async def load_manifest(self, output: Path) -> bytes | None:
        """The payload manifest of a prepared output."""
        from jerichoci.nix.payload_files import load_manifest

        return load_manifest(output)

    async def check_content(self, output: Path, named: Sequence[tuple[str, str, str]]) -> None:
        """See that a prepared output has what its manifest names."""
        from jerichoci.nix.payload_files import check_content

        check_content(output, named)

    async def keep(self, path: Path) -> None:
        """It stays until its run is removed."""

    async def remove(self, path: Path) -> None:
        """Remove a directory and all in it."""
        await asyncio.to_thread(remove_tree, path)
