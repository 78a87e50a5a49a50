"""What only an agent does: all that keeps a host's work directory, and serves what is far away.

Beside these an agent does `jerichoci.placement.operations`. `runs/<run>` in its work directory is a
run that a session holds by its owner lock, or that is kept for a look until the time in `kept`.
"""

import asyncio
import errno
import os
import socket
import stat
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from jerichoci.errors import InfrastructureError
from jerichoci.machine import process
from jerichoci.machine.artifact_limits import Admission, ArtifactLimits
from jerichoci.machine.artifacts import put
from jerichoci.machine.ending import Ending
from jerichoci.machine.outbox import (
    FIRST_POLL_SECS,
    LAST_POLL_SECS,
    POLL_GROWTH,
    Outbox,
    OutboxState,
)
from jerichoci.machine.stop import Stop
from jerichoci.nix.realise import Realiser
from jerichoci.nix.realised import Activity, BuildRequest, Realised
from jerichoci.placement.host_gc import Bounds, Collected
from jerichoci.placement.local_process import spawn as start
from jerichoci.placement.operation import held, operation
from jerichoci.placement.program import Program, Running
from jerichoci.placement.work import Work
from jerichoci.remote.agent import survey as surveys
from jerichoci.remote.agent.agent_work import AgentWork
from jerichoci.remote.agent.host_gc import (
    KEPT,
    SNAPSHOT,
    HostCollector,
    Reaped,
    Sessions,
    leased_snapshots,
)
from jerichoci.remote.agent.outgoing import Outgoing
from jerichoci.state import atomic, log_file
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import RunLayout, make_private
from jerichoci.state.owner import holding_names, owning
from jerichoci.state.remove_tree import remove_tree

VERSION_SECS = 60.0
"""For a program to be read from a slow disk, and print its version."""
ROOT_SECS = 120.0
"""For Nix to root a path that it has."""
BASES = 3
"""So many of the latest snapshots are named as something to start from."""
LOG_BYTES = 4 * 1024 * 1024
"""The most of a log that goes over the connection at once: with each goes a round trip."""


@operation
async def release(work: AgentWork, handle: str) -> None:
    """Release what is held under a handle; it may be released already."""
    await work.release(handle)


@held
async def open_run(work: Work, name: str) -> AsyncIterator[None]:
    """Hold the directory of a run, which is made, and removed in the end unless it is kept."""
    path = work.state.runs / name
    run = RunLayout(path)
    with ExitStack() as owned:
        # A reaper removes what has no owner.
        with holding_names(work.state, shared=True):
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
async def keep_run(_work: Work, path: Path, secs: float) -> None:
    """Keep the directory of a run for a while after its end, by this host's clock."""
    atomic.write_bytes(path / KEPT, str(time.time() + secs).encode())


@operation
async def end_sessions(work: Work, sessions: Sequence[str]) -> Sessions:
    """End other agents, whose orchestrators are dead."""
    return await HostCollector(work.state.root).end_sessions(sessions)


@operation
async def reap(work: Work, runs: Sequence[str]) -> Reaped:
    """Remove what died, and these runs even if they are kept."""
    return await asyncio.to_thread(HostCollector(work.state.root).reap, frozenset(runs))


@operation
async def collect(work: Work, bounds: Bounds, *, dry_run: bool) -> Collected:
    """Remove what is beyond the bounds, or only name it."""
    return await HostCollector(work.state.root).collect(bounds, dry_run=dry_run)


class Started:
    """A program, and how it ended, whether or not it was asked by then."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.end = asyncio.ensure_future(running.wait())


@held
async def spawn(work: Work, program: Program) -> AsyncIterator[Started]:
    """Start a program, which is killed when its handle is released."""
    async with start(program, work.starter) as running:
        started = Started(running)
        try:
            yield started
        finally:
            started.end.cancel()
            await asyncio.gather(started.end, return_exceptions=True)


@dataclass(frozen=True)
class Ended:
    """How a program ended, and the size of its log, in which all that it printed is."""

    ending: Ending
    log_bytes: int


@operation
async def wait(work: AgentWork, handle: str, log: Path) -> Ended:
    """Wait for a program's end."""
    ending = await asyncio.shield(work.find(handle, Started).end)
    size = 0
    with suppress(OSError):  # the job has removed it
        found = log.lstat()
        size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    return Ended(ending, size)


@operation
async def ended_within(work: AgentWork, handle: str, secs: float) -> bool:
    """Whether a program has ended, and took no longer."""
    return await work.find(handle, Started).running.ended_within(secs)


@operation
async def terminate(work: AgentWork, handle: str) -> None:
    """TERM for a program."""
    work.find(handle, Started).running.terminate()


@operation
async def kill(work: AgentWork, handle: str) -> None:
    """KILL for a program."""
    work.find(handle, Started).running.kill()


@operation
async def read_log(_work: Work, path: Path, offset: int, wait_secs: float) -> bytes:
    """The log beyond an offset, LOG_BYTES at most; nothing if it doesn't grow in time."""
    end = time.monotonic() + wait_secs
    pause = FIRST_POLL_SECS
    while True:
        data = b""
        with suppress(OSError):  # the job has replaced it with something else
            data = log_file.read_log(path, offset, LOG_BYTES).data
        if data or time.monotonic() >= end:
            return data
        await asyncio.sleep(pause)
        pause = min(pause * POLL_GROWTH, LAST_POLL_SECS)


@dataclass(frozen=True)
class SnapshotPlace:
    """Where a snapshot is; if it isn't there, the trees to start from."""

    path: Path | None
    bases: list[str]
    git: Path


@operation
async def made_snapshot(work: Work, tree: str, run: Path) -> Path | None:
    """A snapshot that is a directory already, which the run needs from now on."""
    if run.is_dir():  # else it is only looked at
        _link(run / SNAPSHOT, tree)
    return await _materialise(work, tree) if (work.state.snapshots / tree).is_dir() else None


@operation
async def find_snapshot(work: Work, tree: str, run: Path) -> SnapshotPlace:
    """Have a snapshot, which the run needs from now on, or say what it could start from."""
    from jerichoci.snapshot.repository import open_repository

    if run.is_dir():  # else it is only looked at
        _link(run / SNAPSHOT, tree)
    repository = await open_repository(work.state.root)
    if (repository.snapshots / tree).is_dir() or repository.commit_of(tree):
        return SnapshotPlace(await _materialise(work, tree), [], repository.path)
    return SnapshotPlace(None, repository.latest(BASES), repository.path)


@operation
async def keep_snapshot(work: Work, tree: str) -> Path:
    """Make a snapshot of a tree that has come whole."""
    from jerichoci.snapshot.repository import open_repository

    repository = await open_repository(work.state.root)
    await repository.keep(tree)
    return await _materialise(work, tree)


async def _materialise(work: Work, tree: str) -> Path:
    from jerichoci.snapshot.materialise import materialise

    root = work.state.root
    return await materialise(
        # A run, live or kept, needs its own snapshot; git has the files of the others.
        root,
        tree,
        is_spare=lambda other: other not in leased_snapshots(root),
    )


REPORT_BYTES = 512
"""What a report costs beside its line, as JSON."""


@dataclass(frozen=True)
class BuildReport:
    """A node is being built, its builder printed a line, or it has a result; or what Nix does."""

    node_id: str
    line: str | None = None
    result: Realised | None = None
    activity: Activity | None = None


class Building:
    """Nix outputs that are being built, and what is yet to be said of them."""

    def __init__(self, work: Work, builds: Mapping[str, BuildRequest], gcroots: Path) -> None:
        self._reports: deque[BuildReport] = deque()
        self._has_news = asyncio.Event()
        realiser = Realiser(work.nix, builds, gcroots, self, work.confinement)
        self.end = asyncio.ensure_future(realiser.run(Stop()))
        self.end.add_done_callback(lambda _: self._has_news.set())

    async def next_reports(self) -> list[BuildReport]:
        """What is to be said, as soon as there is something; nothing when all is said and built."""
        await self._has_news.wait()
        found: list[BuildReport] = []
        size = 0
        while self._reports and size < LOG_BYTES:
            found.append(self._reports.popleft())
            size += REPORT_BYTES + len(found[-1].line or "")
        if not self._reports and not self.end.done():
            self._has_news.clear()
        if not found:
            self.end.result()
        return found

    def log(self, node_id: str, line: str) -> None:
        """Report what a builder printed."""
        self._say(BuildReport(node_id, line=_text(line)))

    def building(self, node_id: str) -> None:
        """Report that a node is being built."""
        self._say(BuildReport(node_id))

    def active(self, activity: Activity) -> None:
        """Report what Nix does now; what it did before matters no more."""
        if self._reports and self._reports[-1].activity:
            self._reports.pop()
        self._say(BuildReport("", activity=activity))

    def finished(self, node_id: str, result: Realised) -> None:
        """Report what became of a node."""
        if result.fault is not None:
            fault = replace(result.fault, message=_text(result.fault.message))
            result = replace(result, fault=fault)
        self._say(BuildReport(node_id, result=result))

    def _say(self, report: BuildReport) -> None:
        self._reports.append(report)
        self._has_news.set()


@held
async def open_builds(
    work: Work, builds: Mapping[str, BuildRequest], gcroots: Path
) -> AsyncIterator[Building]:
    """Begin to build Nix outputs in this host's store; what isn't built in the end is given up."""
    building = Building(work, builds, gcroots)
    try:
        yield building
    finally:
        building.end.cancel()
        await asyncio.gather(building.end, return_exceptions=True)


@operation
async def read_builds(work: AgentWork, handle: str) -> list[BuildReport]:
    """What became of the builds since; nothing once all have ended."""
    return await work.find(handle, Building).next_reports()


def _text(printed: str) -> str:
    """What a builder printed, without what no text has."""
    return printed.replace("\0", "").encode("utf-8", "replace").decode()


@operation
async def root(work: Work, path: Path, link: Path) -> bool:
    """Root a store path; whether it exists."""
    argv = work.nix.root_argv([str(path)], str(link))
    is_valid = (await process.run(argv, deadline_secs=ROOT_SECS)).ok
    return is_valid and os.path.lexists(path)


NEWS_SECS = 0.05
"""A round trip is saved where a job ends soon after it began."""


@operation
async def watch_outbox(
    _work: Work, path: Path, offset: int, wait_secs: float, *, has_started: bool
) -> OutboxState:
    """What a guest has left since."""
    with Outbox(path) as outbox:
        return await outbox.watch(offset, wait_secs, has_started, NEWS_SECS)


@held
async def open_artifacts(
    _work: Work, path: Path, limits: ArtifactLimits, *, is_outbox: bool
) -> AsyncIterator[Outgoing]:
    """Begin to read what a job left in a directory, or in a guest's outbox."""
    outgoing = Outgoing(path, Admission(limits), is_outbox=is_outbox)
    try:
        yield outgoing
    finally:
        outgoing.close()


@dataclass(frozen=True)
class Piece:
    """A piece of what a job left; with the last one, which files were not read.

    `refused` has the first of them, each with the reason; `refused_count` is how many there are.
    """

    parts: list[str | bytes]
    is_last: bool
    refused: list[str]
    refused_count: int


@operation
async def read_artifacts(work: AgentWork, handle: str) -> Piece:
    """The next piece of it."""
    outgoing = work.find(handle, Outgoing)
    parts, is_last = await asyncio.to_thread(outgoing.next_piece)
    admission = outgoing.admission or Admission()
    return Piece(parts, is_last, admission.refused, admission.refused_count)


@operation
async def put_files(_work: Work, directory: Path, parts: list[str | bytes]) -> None:
    """Write files below a directory: parts as of `Outgoing`; `+` continues a file."""
    await asyncio.to_thread(put, directory, parts)


@dataclass(frozen=True)
class Tools:
    """The versions of programs on PATH; None for what isn't there."""

    nix: str | None
    nix_daemon: str | None


@operation
async def tools(_work: Work) -> Tools:
    """The versions of programs that some jobs need."""
    return Tools(*await asyncio.gather(_version("nix"), _version("nix-daemon")))


async def _version(program: str) -> str | None:
    try:
        done = await process.run([program, "--version"], deadline_secs=VERSION_SECS)
    except InfrastructureError:
        return None
    words = done.stdout.decode("utf-8", "replace").split()
    return words[-1] if done.ok and words else "unknown"


@operation
async def clock(_work: Work) -> float:
    """Seconds since 1970."""
    return time.time()


@operation
async def survey(work: Work, *, ask_nix: bool) -> surveys.Survey:
    """What this host is and has; its Nix store is asked if `ask_nix`."""
    return await surveys.survey(work.state.root, ask_nix=ask_nix)


@dataclass(frozen=True)
class SocketProbe:
    """Why a unix socket can't be connected to; 0 if it can."""

    errno: int = 0
    message: str = ""


@operation
async def probe_socket(_work: Work, path: Path) -> SocketProbe:
    """Whether a unix socket can be connected to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(5.0)
        try:
            link.connect(str(path))
        except OSError as error:
            number = error.errno or errno.EIO
            return SocketProbe(number, os.strerror(number))
    return SocketProbe()


def _link(link: Path, name: str) -> None:
    """Let a link name something, in one step."""
    unborn = link.with_name(f".{link.name}-{os.urandom(4).hex()}")
    unborn.symlink_to(name)
    unborn.rename(link)
