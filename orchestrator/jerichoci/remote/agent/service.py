"""What an agent does for its orchestrator, below one work directory.

The work directory is laid out as a state root, and what is done in it is done by the same code as
on the orchestrator's own machine. `runs/<run>` there is one that a session holds by its owner lock,
or that is kept for a look until the time in `kept`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
import time
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError
from jerichoci.machine import slots
from jerichoci.machine.environment import host_environment, well_known
from jerichoci.machine.outbox import Outbox
from jerichoci.machine.stop import Stop
from jerichoci.machine.system import own_system
from jerichoci.nix.command import NixOptions
from jerichoci.nix.realise import Realiser
from jerichoci.nix.realised import BuildRequest
from jerichoci.placement.local import LocalPlacement
from jerichoci.remote.agent import survey
from jerichoci.remote.agent.host_gc import KEPT, SNAPSHOT, Bounds, Collector
from jerichoci.remote.agent.operation import Call, operation
from jerichoci.remote.agent.outgoing import Outgoing
from jerichoci.remote.agent.relay import boot_id
from jerichoci.remote.agent.watch import size_of_log, watch_log
from jerichoci.state import atomic
from jerichoci.state.layout import RunLayout, StateLayout, make_private
from jerichoci.state.owner import holding_names, owning
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from jerichoci.nix.realised import Realised
    from jerichoci.placement import Running

VERSION_SECS = 60.0
"""For a program to be read from a slow disk, and say its version."""
BASES = 3
"""So many of the latest snapshots are told of as something to start from."""


class _Started:
    """A program, and how it ended, whether or not anybody has asked by then."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.end = asyncio.ensure_future(running.wait())


@asynccontextmanager
async def _watched(
    spawning: AbstractAsyncContextManager[Running],
) -> AsyncIterator[_Started]:
    async with spawning as running:
        started = _Started(running)
        try:
            yield started
        finally:
            started.end.cancel()
            await asyncio.gather(started.end, return_exceptions=True)


class _Teller:
    """An Observer far away."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def log(self, node_id: str, line: str) -> None:
        self._call.say(["log", node_id, line])

    def building(self, node_id: str) -> None:
        self._call.say(["building", node_id])

    def finished(self, node_id: str, result: Realised) -> None:
        fault = result.fault
        self._call.say(
            [
                "finished",
                node_id,
                {
                    "outcome": result.outcome,
                    "path": result.path,
                    "gc_root": str(result.gc_root) if result.gc_root else None,
                    "cached": result.cached,
                    "failure_kind": result.failure_kind,
                    "fault": asdict(fault) if fault else None,
                },
            ]
        )


class Service:
    """The operations, and what was opened by some of them."""

    def __init__(self, work: Path, told: Mapping[str, Any]) -> None:
        self._work = work
        self._session = str(told["session"])
        self._told = told
        _extend_path(told["search_path"])
        nix = NixOptions(
            settings=tuple((name, value) for name, value in told["nix_settings"]),
            offline=bool(told["nix_offline"]),
        )
        self._nix = nix
        for name in ("slots", "runs", "snapshots"):
            make_private(work / name)
        self._placement = LocalPlacement(work, nix, told["search_path"])
        self._programs = survey.needed_programs()
        self._held: dict[str, AsyncExitStack] = {}
        self._running: dict[str, _Started] = {}
        self._outgoing: dict[str, Outgoing] = {}

    def facts(self) -> dict[str, Any]:
        """What an orchestrator knows of a host from the first moment."""
        user = self._placement.user
        return {
            "boot_id": boot_id(),
            "session": self._session,
            "time": time.time(),
            "work_dir": str(self._work),
            "system": own_system(),
            "uid": user.uid,
            "gid": user.gid,
            "python": sys.version.split()[0],
            "environment": host_environment(),
            "job_path": self._placement.job_path,
            "programs": self._programs,
        }

    async def do(self, name: str, call: Call, args: dict[str, Any]) -> tuple[object, bytes]:
        """Do what is asked; the answer, and the bytes that go along with it.

        Raises:
            Exception: whatever went wrong.
        """
        method = getattr(self, name, None)
        if not getattr(method, "is_operation", False):
            raise InfrastructureError(f"the agent knows no operation {name!r}")
        answer = await method(call, **args)  # type: ignore[misc]  # it is one, as was just seen
        return answer if isinstance(answer, tuple) else (answer, b"")

    async def close(self) -> None:
        """Let go of everything, the last first; what runs is killed."""
        for handle in reversed(list(self._held)):
            with suppress(Exception):
                await self._held.pop(handle).aclose()

    async def _hold(self, handle: str, context: AbstractAsyncContextManager[Any]) -> Any:  # noqa: ANN401 - what the context gives
        async with AsyncExitStack() as stack:
            found = await stack.enter_async_context(context)
            self._held[handle] = stack.pop_all()
        return found

    @operation
    async def release(self, _call: Call, *, handle: str) -> None:
        """Let go of what was opened under that handle; what isn't held any more is no error."""
        self._running.pop(handle, None)
        stack = self._held.pop(handle, None)
        if stack is not None:
            await stack.aclose()

    @operation
    async def open_run(self, _call: Call, *, handle: str, name: str) -> str:
        """Hold the directory of a run, which is made; it goes with the handle unless it is kept."""
        await self._hold(handle, self._run_directory(self._work / "runs" / name))
        return str(self._work / "runs" / name)

    @asynccontextmanager
    async def _run_directory(self, path: Path) -> AsyncIterator[None]:
        run = RunLayout(path)
        with ExitStack() as owned:
            # Whoever reaps takes what has no owner.
            with holding_names(StateLayout(self._work), shared=True):
                make_private(path)
                owned.enter_context(owning(path))
            for directory in (run.scratch, run.gcroots, run.prepared):
                make_private(directory)
            try:
                yield
            finally:
                if not (path / KEPT).exists():
                    await asyncio.to_thread(remove_tree, path)

    @operation
    async def keep_run(self, _call: Call, *, path: str, secs: float) -> None:
        """Keep the directory of a run for a while after its end, by this host's clock."""
        atomic.write_bytes(Path(path) / KEPT, str(time.time() + secs).encode())

    @operation
    async def end_sessions(self, _call: Call, *, sessions: list[str]) -> dict[str, list[str]]:
        """Have other agents end whose orchestrators are dead; what did, and what runs there are."""
        return asdict(await Collector(self._work).end_sessions(sessions))

    @operation
    async def reap(self, _call: Call, *, runs: list[str]) -> dict[str, Any]:
        """Remove what died, and these runs even if they are kept; what went and what is left."""
        return asdict(await asyncio.to_thread(Collector(self._work).reap, frozenset(runs)))

    @operation
    async def collect(
        self, _call: Call, *, bounds: dict[str, int], dry_run: bool
    ) -> dict[str, Any]:
        """Remove what is beyond the bounds; what went, or would."""
        found = await Collector(self._work).collect(Bounds(**bounds), dry_run=dry_run)
        return asdict(found)

    @operation
    async def run(
        self, _call: Call, *, argv: list[str], deadline_secs: float, cwd: str | None
    ) -> tuple[object, bytes]:
        """Run a command to its end."""
        where = Path(cwd) if cwd else None
        done = await self._placement.run(argv, deadline_secs=deadline_secs, cwd=where)
        answer = {"exit_code": done.exit_code, "stdout_bytes": len(done.stdout)}
        return answer, done.stdout + done.stderr

    @operation
    async def spawn(  # noqa: PLR0913 - what a process needs
        self,
        _call: Call,
        *,
        handle: str,
        argv: list[str],
        cwd: str,
        env: dict[str, str],
        log: str,
        notes: str,
        memory_mib: int | None = None,
    ) -> None:
        """Start a program, which is killed when its handle is released."""
        spawning = self._placement.spawn(
            argv,
            cwd=Path(cwd),
            env=env,
            log=Path(log),
            notes=Path(notes),
            memory_mib=memory_mib,
        )
        self._running[handle] = await self._hold(handle, _watched(spawning))

    @operation
    async def wait(self, _call: Call, *, handle: str, log: str) -> dict[str, Any]:
        """Wait for a program's end; all it printed is in its log then, which has a size."""
        ending = await asyncio.shield(self._started(handle).end)
        return {**asdict(ending), "log_bytes": size_of_log(Path(log))}

    @operation
    async def ended_within(self, _call: Call, *, handle: str, secs: float) -> bool:
        """Whether a program has ended, and took no longer."""
        return await self._started(handle).running.ended_within(secs)

    @operation
    async def terminate(self, _call: Call, *, handle: str) -> None:
        """TERM for a program."""
        self._started(handle).running.terminate()

    @operation
    async def kill(self, _call: Call, *, handle: str) -> None:
        """KILL for a program."""
        self._started(handle).running.kill()

    def _started(self, handle: str) -> _Started:
        started = self._running.get(handle)
        if started is None:
            raise InfrastructureError("that program isn't running any more")
        return started

    @operation
    async def read_log(
        self, _call: Call, *, path: str, offset: int, wait_secs: float
    ) -> tuple[object, bytes]:
        """What a log has beyond an offset; waits for it to grow."""
        return None, await watch_log(Path(path), offset, wait_secs)

    @operation
    async def confinement(self, _call: Call) -> dict[str, Any]:
        """What this host's kernel gives to hold a job."""
        return asdict(await self._placement.confinement())

    @operation
    async def slot(
        self,
        _call: Call,
        *,
        handle: str,
        wanted: dict[str, Any],
        capacity: dict[str, Any],
    ) -> None:
        """Hold what a job takes of this host, waiting until there is room."""
        own = slots.local_capacity()
        whole = slots.Capacity(
            cpus=capacity["cpus"] or own.cpus,
            memory_mib=capacity["memory_mib"] or own.memory_mib,
            jobs=capacity["jobs"],
        )
        asked = slots.Resources(**wanted)
        await self._hold(handle, slots.holding(self._work / "slots", whole, asked))

    @operation
    async def lock(
        self, _call: Call, *, handle: str, name: str, deadline_secs: float, shared: bool
    ) -> None:
        """Hold a lock."""
        await self._hold(handle, self._placement.lock(name, deadline_secs, shared=shared))

    @operation
    async def find_snapshot(self, _call: Call, *, tree: str, run: str) -> dict[str, Any]:
        """Where a snapshot is, which the run needs from now on; else what it could start from."""
        from jerichoci.snapshot.materialise import materialise
        from jerichoci.snapshot.repository import open_repository

        if Path(run).is_dir():  # else somebody only wants a look
            _link(Path(run) / SNAPSHOT, tree)
        repository = await open_repository(self._work)
        if (repository.snapshots / tree).is_dir() or await repository.commit_of(tree):
            return {"path": str(await materialise(self._work, tree, is_spare=self._is_spare))}
        return {"bases": await repository.latest(BASES), "git": str(repository.path)}

    @operation
    async def keep_snapshot(self, _call: Call, *, tree: str) -> str:
        """Make a snapshot of a tree that has come whole; where it is."""
        from jerichoci.snapshot.materialise import materialise
        from jerichoci.snapshot.repository import open_repository

        repository = await open_repository(self._work)
        await repository.keep(tree)
        return str(await materialise(self._work, tree, is_spare=self._is_spare))

    def _is_spare(self, tree: str) -> bool:
        """Whether no run, going on or kept, needs a snapshot's directory: git has its files."""
        return tree not in Collector(self._work).leased()

    @operation
    async def realise(self, call: Call, *, builds: dict[str, dict[str, Any]], gcroots: str) -> None:
        """Have Nix outputs in this host's store; what becomes of each is said."""
        requests = {node_id: BuildRequest(**build) for node_id, build in builds.items()}
        confinement = self._placement.confinement
        realiser = Realiser(self._nix, requests, Path(gcroots), _Teller(call), confinement)
        await realiser.run(Stop())

    @operation
    async def root(self, _call: Call, *, path: str, link: str) -> bool:
        """Root a store path; whether it is there."""
        argv = self._nix.root_argv([path], link)
        is_valid = (await self._placement.run(argv, deadline_secs=120.0)).ok
        return is_valid and os.path.lexists(path)

    @operation
    async def make_directory(self, _call: Call, *, path: str) -> None:
        """Create a directory."""
        await self._placement.make_directory(Path(path))

    @operation
    async def make_workspace(self, _call: Call, *, root: str) -> None:
        """Create the directories of a workspace."""
        await self._placement.make_workspace(Path(root))

    @operation
    async def make_outbox(self, _call: Call, *, path: str) -> None:
        """Create the directory that a guest has as its /artifacts."""
        await self._placement.make_outbox(Path(path))

    @operation
    async def write(self, call: Call, *, path: str) -> None:
        """Write a file."""
        await self._placement.write(Path(path), call.data)

    @operation
    async def read(self, _call: Call, *, path: str, limit: int) -> tuple[object, bytes]:
        """The first bytes of a file."""
        data = await self._placement.read(Path(path), limit)
        return data is not None, data or b""

    @operation
    async def remove(self, _call: Call, *, path: str) -> None:
        """Remove a directory."""
        await self._placement.remove(Path(path))

    @operation
    async def watch_outbox(
        self, _call: Call, *, path: str, offset: int, wait_secs: float, has_started: bool
    ) -> tuple[object, bytes]:
        """What a guest has left since."""
        with Outbox(Path(path)) as outbox:
            state = await outbox.watch(offset, wait_secs, has_started)
        size = len(state.result) if state.result is not None else None
        answer = {"result_bytes": size, "started": state.started}
        return answer, (state.result or b"") + state.log

    @operation
    async def open_artifacts(self, _call: Call, *, handle: str, path: str, is_outbox: bool) -> None:
        """Begin to read what a job left in a directory, or in a guest's outbox."""
        outgoing = Outgoing(Path(path), is_outbox=is_outbox)
        stack = AsyncExitStack()
        stack.callback(outgoing.close)
        stack.callback(self._outgoing.pop, handle, None)
        self._outgoing[handle] = outgoing
        self._held[handle] = stack

    @operation
    async def read_artifacts(self, _call: Call, *, handle: str) -> tuple[object, bytes]:
        """The next piece of it."""
        outgoing = self._outgoing.get(handle)
        if outgoing is None:
            raise InfrastructureError("no artifacts are open under that name")
        listed, data, is_last = await asyncio.to_thread(outgoing.next_piece)
        return {"listed": listed, "is_last": is_last}, data

    @operation
    async def guest_view(
        self, _call: Call, *, outputs: list[str], lease: str
    ) -> dict[str, Any] | None:
        """Have a closure where guests can be shown it."""
        view = await self._placement.guest_view(outputs, Path(lease))
        if view is None:
            return None
        return {
            "path": str(view.path),
            "outputs": {path: str(where) for path, where in view.outputs.items()},
        }

    @operation
    async def load_manifest(self, _call: Call, *, output: str) -> tuple[object, bytes]:
        """The payload manifest of an output."""
        from jerichoci.nix.payload_files import load_manifest

        data = load_manifest(Path(output))
        return data is not None, data or b""

    @operation
    async def check_content(self, _call: Call, *, output: str, named: list[list[str]]) -> None:
        """See that an output has what its manifest names."""
        from jerichoci.nix.payload_files import check_content

        check_content(Path(output), [(what, path, kind) for what, path, kind in named])

    @operation
    async def tools(self, _call: Call) -> dict[str, str | None]:
        """The versions of programs on PATH; None for what isn't there."""
        return {
            "nix": await self._version("nix"),
            "nix-daemon": await self._version("nix-daemon"),
            "git": await self._version("git"),
        }

    async def _version(self, program: str) -> str | None:
        try:
            done = await self._placement.run([program, "--version"], deadline_secs=VERSION_SECS)
        except InfrastructureError:
            return None
        words = done.stdout.decode("utf-8", "replace").split()
        return words[-1] if done.ok and words else "unknown"

    @operation
    async def clock(self, _call: Call) -> float:
        """Seconds since 1970."""
        return time.time()

    @operation
    async def survey(self, _call: Call, *, nix: bool) -> dict[str, Any]:
        """What this host is and has; its Nix store is asked if `nix`."""
        return await survey.survey(self._work, ask_nix=nix)

    @operation
    async def probe_socket(self, _call: Call, *, path: str) -> dict[str, Any]:
        """Whether a unix socket can be connected to."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(5.0)
            try:
                link.connect(path)
            except OSError as error:
                number = error.errno or errno.EIO
                return {"errno": number, "message": os.strerror(number)}
        return {"errno": 0, "message": ""}


def _link(link: Path, name: str) -> None:
    """Let a link name something, in one step."""
    unborn = link.with_name(f".{link.name}-{os.urandom(4).hex()}")
    unborn.symlink_to(name)
    unborn.rename(link)


def _extend_path(first: list[str]) -> None:
    """Have what ssh's own PATH may lack."""
    rest = os.environ.get("PATH", "").split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join(well_known(first, rest))
