"""Nix prepare nodes made real on this machine: one `nix build` for all that isn't there.

What is valid already is rooted and nothing more. The rest is built in one call, in parallel, one
failure not stopping the others. As soon as a node's own output is there it is rooted, while Nix
still holds it, and the node is done: nobody waits for the slowest. (Nix ends the activities of what
it was asked for only when all of it is done; but it counts the builds that are.)

Whose fault a failure is follows from Nix's activities: a build that began, ended and left no valid
output is the builder's failure; anything else is the machine's.

A node's deadline counts from the start of the step. When it is over, the node is done (`timeout`)
and Nix goes on with the others; once nobody is waiting, or the run ends, Nix is told to end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jerichoci import nix, process
from jerichoci.errors import InfrastructureError
from jerichoci.nixlog import (
    BUILD_ACTIVITY,
    BUILDS_ACTIVITY,
    ERROR_LEVEL,
    LogLine,
    Message,
    Progress,
    Started,
    Stopped,
    parse_line,
)
from jerichoci.status import CauseCode, FailureKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping

    from jerichoci.nix import NixOptions
    from jerichoci.nixlog import NixEvent
    from jerichoci.plan import NixBuild
    from jerichoci.record import Cause
    from jerichoci.stop import Stop

NIX_GRACE_SECS = 10.0
"""For Nix to end its builders and itself after TERM."""
FULL_DISK_BYTES = 2**20
"""With less than this left under the store, a failed build is the disk's fault."""
PREPARE_PHASE = "prepare"


@dataclass(frozen=True)
class Fault:
    """Why a prepare node can't be had."""

    code: CauseCode
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Realised:
    """What became of a prepare node."""

    outcome: Outcome
    path: str | None = None
    gc_root: Path | None = None
    cached: bool = False
    copied_bytes: int | None = None
    """How many bytes went to its host, if it, or what it is built from, was copied there."""
    failure_kind: FailureKind | None = None
    fault: Fault | None = None

    @property
    def cause(self) -> Cause | None:
        """The fault as records have it."""
        from jerichoci.record import Cause

        return Cause(phase=PREPARE_PHASE, **vars(self.fault)) if self.fault else None

    @property
    def ok(self) -> bool:
        """Whether its output is there."""
        return self.outcome is Outcome.PASSED


def failed(kind: FailureKind, code: CauseCode, message: str, hint: str | None = None) -> Realised:
    """A node that can't be had, and why."""
    return Realised(Outcome.FAILED, failure_kind=kind, fault=Fault(code, message, hint))


CANCELLED = Realised(
    Outcome.CANCELLED,
    fault=Fault(CauseCode.CANCELLED, "the run was told to stop"),
)


class Observer(Protocol):
    """Somebody who follows prepare nodes."""

    def log(self, node_id: str, line: str) -> None:
        """A builder printed a line that concerns a node."""

    def building(self, node_id: str) -> None:
        """A node wasn't there and is being made."""

    def finished(self, node_id: str, result: Realised) -> None:
        """A node is done; told once for each."""


@dataclass
class _Builds:
    """The builds that one `nix build` was seen to start and end."""

    running: dict[int, str] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    counter: int | None = None
    done: int = 0

    def note(self, event: NixEvent | None) -> bool:
        """Take note of an event; whether it says that one more build is done."""
        match event:
            case Started(id, type, subject) if type == BUILD_ACTIVITY:
                self.running[id] = subject
            case Started(id, type) if type == BUILDS_ACTIVITY:
                self.counter = id
            case Stopped(id) if id in self.running:
                self.ended.add(self.running.pop(id))
            case Progress(id, done) if id == self.counter and done > self.done:
                self.done = done
                return True
        return False


class Realiser:
    """One step that makes `builds` (by node id) real and roots them below `gcroots`."""

    def __init__(
        self, options: NixOptions, builds: Mapping[str, NixBuild], gcroots: Path, observer: Observer
    ) -> None:
        self._options = options
        self._builds = dict(builds)
        self._gcroots = gcroots
        self._observer = observer
        self._waiting = set(builds)
        self._all_done = asyncio.Event()
        self._seen = _Builds()
        self._requisites: dict[str, frozenset[str]] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._failure: Exception | None = None

    async def run(self, stop: Stop) -> None:
        """Have every node told to the observer as finished, one way or another."""
        work = asyncio.ensure_future(self._work())
        try:
            await self._follow(work, stop)
        except InfrastructureError as error:
            self._fail_rest(error.message, error.hint)
        finally:
            await _give_up({work, *self._settling})
            for node_id in list(self._waiting):
                self._finish(node_id, CANCELLED)

    async def _follow(self, work: asyncio.Future[None], stop: Stop) -> None:
        """Wait until the work is done, or nobody wants it any more."""
        started = time.monotonic()
        ends: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(stop.wait()),
            asyncio.ensure_future(self._all_done.wait()),
        ]
        try:
            while self._waiting and not (work.done() or stop.is_set() or self._failure):
                timeout = self._next_deadline(started)
                await asyncio.wait(
                    [work, *ends], timeout=timeout, return_when=asyncio.FIRST_COMPLETED
                )
                if not work.done():
                    self._expire(started)
        finally:
            for end in ends:
                end.cancel()
        if self._failure is not None:
            raise self._failure
        if work.done():
            work.result()

    async def _work(self) -> None:
        await self._take_what_is_valid()
        if self._waiting:
            await self._build()
        for node_id in list(self._waiting):
            await self._guard(node_id, self._judge(node_id))

    async def _guard(self, node_id: str, work: Coroutine[Any, Any, None]) -> None:
        """Let what goes wrong with one node be that node's failure."""
        try:
            await work
        except InfrastructureError as error:
            self._unavailable(node_id, error.message, error.hint)
        except Exception as error:  # a Nix that answers as none did before
            if self._failure is not None:
                raise
            self._unavailable(node_id, f"prepare {node_id}: pikaci itself failed: {error!r}")

    async def _take_what_is_valid(self) -> None:
        there = {
            node_id: build.out_path
            for node_id, build in self._builds.items()
            if os.path.lexists(build.out_path)
        }
        if there and await self._root(there.values(), "valid"):
            for node_id, path in there.items():
                self._passed(node_id, self._find_root(path), cached=True)
            return
        # Something lies in the store that Nix does not vouch for: ask for each alone.
        for node_id, path in there.items():
            if await self._root([path], node_id):
                self._passed(node_id, self._find_root(path), cached=True)

    async def _root(self, paths: Iterable[str], name: str) -> bool:
        argv = self._options.root_argv(sorted(set(paths)), str(self._gcroots / name))
        return (await process.run(argv, deadline_secs=nix.QUERY_DEADLINE_SECS)).ok

    def _find_root(self, path: str) -> Path | None:
        links = self._gcroots.iterdir()
        return next((link for link in links if str(link.readlink()) == path), None)

    async def _build(self) -> None:
        pending = sorted(self._waiting)
        for node_id in pending:
            self._observer.building(node_id)
        argv = self._options.build_argv([self._builds[name].installable for name in pending])
        async with process.child(
            process.dying_with_parent(argv, "TERM"), stdout=asyncio.subprocess.DEVNULL
        ) as builder:
            reading = asyncio.ensure_future(self._read(builder, pending))
            try:
                await asyncio.wait({reading})
            finally:
                await _end(builder, reading)
        if self._settling:
            await asyncio.wait(self._settling)

    def _next_deadline(self, started: float) -> float:
        ends = [started + self._builds[node_id].timeout_secs for node_id in self._waiting]
        return max(0.0, min(ends) - time.monotonic())

    def _expire(self, started: float) -> None:
        for node_id in list(self._waiting):
            limit = self._builds[node_id].timeout_secs
            if time.monotonic() - started >= limit:
                message = f"prepare {node_id} was not built within {limit} s"
                hint = "raise its timeoutSecs, or see in the host log where it hangs"
                code = CauseCode.BUILD_TIMED_OUT
                self._finish(node_id, failed(FailureKind.TIMEOUT, code, message, hint))

    async def _read(self, builder: asyncio.subprocess.Process, pending: list[str]) -> None:
        if len(pending) > 1:
            await self._learn_requisites(pending)
        if builder.stderr is None:
            raise InfrastructureError("nix has no stderr")
        while line := await _read_line(builder.stderr):
            match parse_line(line):
                case LogLine(id, text):
                    for node_id in self._concerned(self._seen.running.get(id, "")):
                        self._observer.log(node_id, text)
                case Message(level, _text, raw) if level == ERROR_LEVEL:
                    self._seen.errors.append(raw)
                case event if self._seen.note(event):
                    self._settle_what_is_there()
        await builder.wait()

    async def _learn_requisites(self, pending: list[str]) -> None:
        drvs = {name: self._builds[name].drv_path for name in pending}
        known = [name for name, drv in drvs.items() if drv]
        found = await asyncio.gather(*(nix.requisites(drvs[name] or "") for name in known))
        self._requisites = dict(zip(known, found, strict=True))

    def _concerned(self, drv: str) -> list[str]:
        if not self._requisites:
            return list(self._waiting)
        return [name for name, needed in self._requisites.items() if drv in needed]

    def _settle_what_is_there(self) -> None:
        for node_id in self._waiting:
            if os.path.lexists(self._builds[node_id].out_path):
                task = asyncio.ensure_future(self._guard(node_id, self._settle(node_id)))
                self._settling.add(task)
                task.add_done_callback(self._settling.discard)

    async def _settle(self, node_id: str) -> None:
        if await self._root([self._builds[node_id].out_path], node_id):
            self._passed(node_id, self._gcroots / node_id, cached=False)

    async def _judge(self, node_id: str) -> None:
        await self._settle(node_id)
        if node_id not in self._waiting:
            return
        build = self._builds[node_id]
        broken = await self._broken_builds(build.drv_path) if build.drv_path else []
        if broken and not _disk_is_full(build.out_path):
            which = "" if broken == [build.drv_path] else f" ({Path(broken[0]).name} failed)"
            message = f"prepare {node_id} does not build{which}"
            hint = "the builder's output is in the host log"
            result = failed(FailureKind.TEST_FAILURE, CauseCode.BUILD_FAILED, message, hint)
        else:
            why = self._seen.errors[-1] if self._seen.errors else "Nix ended without saying why"
            if broken:
                why = "the disk under the Nix store is full"
            message = f"prepare {node_id} could not be realised: {_first_line(why)}"
            for error in self._seen.errors:
                self._observer.log(node_id, error)
            code = CauseCode.PREPARE_UNAVAILABLE
            hint = "see the host log; `nix store info` says whether the store can be reached"
            result = failed(FailureKind.INFRASTRUCTURE, code, message, hint)
        self._finish(node_id, result)

    async def _broken_builds(self, drv_path: str) -> list[str]:
        suspects = self._seen.ended & await nix.requisites(drv_path)
        return [drv for drv in sorted(suspects) if await nix.invalid(await nix.outputs(drv))]

    def _fail_rest(self, message: str, hint: str | None) -> None:
        for node_id in list(self._waiting):
            self._unavailable(node_id, message, hint)

    def _unavailable(self, node_id: str, message: str, hint: str | None = None) -> None:
        code = CauseCode.PREPARE_UNAVAILABLE
        self._finish(node_id, failed(FailureKind.INFRASTRUCTURE, code, message, hint))

    def _passed(self, node_id: str, root: Path | None, *, cached: bool) -> None:
        path = self._builds[node_id].out_path
        self._finish(node_id, Realised(Outcome.PASSED, path, root, cached))

    def _finish(self, node_id: str, result: Realised) -> None:
        if node_id in self._waiting:
            self._waiting.remove(node_id)
            if not self._waiting:
                self._all_done.set()
            try:
                self._observer.finished(node_id, result)
            except Exception as error:
                # Not this node's: the run can't be recorded.
                self._failure = self._failure or error
                self._all_done.set()
                raise


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    """The next line; one that is too long for any use is passed over."""
    while True:
        try:
            return await stream.readline()
        except ValueError:
            continue


async def _end(builder: asyncio.subprocess.Process, reading: asyncio.Future[None]) -> None:
    """TERM for what still runs, for only then Nix ends its builders; then what became of reading.

    Raises:
        InfrastructureError: as the reading.
    """
    if builder.returncode is None:
        process.signal_group(builder.pid, signal.SIGTERM)
        # Nix does not end while nobody takes what it says.
        rest = asyncio.ensure_future(_drain(builder)) if reading.done() else reading
        await asyncio.wait({rest}, timeout=NIX_GRACE_SECS)
        rest.cancel()
        with suppress(asyncio.CancelledError):
            await rest
    if not reading.cancelled():
        reading.result()


async def _drain(builder: asyncio.subprocess.Process) -> None:
    while builder.stderr and await builder.stderr.read(process.LINE_LIMIT):
        pass
    await builder.wait()


async def _give_up(tasks: set[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _disk_is_full(store_path: str) -> bool:
    usage = os.statvfs(Path(store_path).parent)
    return usage.f_bavail * usage.f_frsize < FULL_DISK_BYTES or usage.f_favail == 0


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else text
