"""Nix prepare nodes made real on this machine: one `nix build` for all that isn't there.

What is valid already is rooted and nothing more. The rest is built in one call, in parallel, one
failure not stopping the others. As soon as a node's own output is there it is rooted, while Nix
still holds it, and the node is done, without waiting for the slowest. So is one that can't be had
any more, as soon as a build that it needs has failed.

A build is the builder's failure when Nix counts it as failed, or ends because of it, and left no
valid output; anything else is the machine's.

A node's deadline counts from the start of the step. When it is over, the node is done (`timeout`)
and Nix goes on with the others; once no node is waiting, or the run ends, Nix gets TERM.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError
from jerichoci.machine import process
from jerichoci.nix import command as nix
from jerichoci.nix import settings as nix_settings
from jerichoci.nix import verdict as nix_verdict
from jerichoci.nix.builds import Build, Builds
from jerichoci.nix.log import (
    LogLine,
    Message,
    Progress,
    Started,
    Stopped,
    parse_line,
    read_lines,
)
from jerichoci.nix.own_store import root_valid
from jerichoci.nix.realised import CANCELLED, Activity, BuildRequest, Observer, Realised, failed
from jerichoci.status import CauseCode, FailureKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from jerichoci.machine.confinement import Confinement
    from jerichoci.machine.stop import Stop
    from jerichoci.nix.command import NixOptions

STOPPED_SECS, CATCH_UP_SECS = 1.0, 5.0
"""So late is no deadline seen but by a process that was stopped; for what it has missed then."""
NIX_GRACE_SECS = 10.0
"""For Nix to end its builders and itself after TERM."""
BRING_SECS = 4 * 3600.0
"""For a copy from the store that builds: closures of many gigabytes, on slow lines."""
REASON_SECS = 5.0
"""For Nix to say why a build failed, after it has said that it did."""


class Realiser:
    """One step that makes `builds` (by node id) real and roots them below `gcroots`."""

    def __init__(
        self,
        options: NixOptions,
        builds: Mapping[str, BuildRequest],
        gcroots: Path,
        observer: Observer,
        confinement: Callable[[], Coroutine[Any, Any, Confinement]],
    ) -> None:
        self._options = options
        self._confinement = confinement
        self._builds = dict(builds)
        self._gcroots = gcroots
        self._observer = observer
        self._waiting = set(builds)
        self._all_done = asyncio.Event()
        self._seen = Builds()
        self._shown = Activity()
        """What the observer knows of."""
        self._exit_code = 0
        self._reading: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._to_repair: set[str] = set()
        """The nodes whose outputs Nix has for valid and that aren't there."""
        self._requisites: dict[str, frozenset[str]] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._failure: Exception | None = None

    async def run(self, stop: Stop) -> None:
        """Give the observer the result of every node."""
        work = asyncio.ensure_future(self._work())
        try:
            await self._follow(work, stop)
        except InfrastructureError as error:
            for node_id in list(self._waiting):
                self._unavailable(node_id, error.message, error.hint)
        finally:
            # Until Nix has ended, its output begins tasks.
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            settling = tuple(self._settling)
            for task in settling:
                task.cancel()
            await asyncio.gather(*settling, return_exceptions=True)
            for node_id in list(self._waiting):
                self._finish(node_id, CANCELLED)

    async def _follow(self, work: asyncio.Future[None], stop: Stop) -> None:
        """Wait until the work is done, or it isn't wanted any more."""
        started = time.monotonic()
        ends: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(stop.wait()),
            asyncio.ensure_future(self._all_done.wait()),
        ]
        try:
            while self._waiting and not (work.done() or stop.is_set() or self._failure):
                asked = time.monotonic()
                limits = [self._builds[node_id].timeout_secs for node_id in self._waiting]
                timeout = max(0.0, started + min(limits) - asked)
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait([work, *ends], timeout=timeout, return_when=first)
                if time.monotonic() - asked > timeout + STOPPED_SECS:
                    # So late, this process was stopped: first it hears what ended meanwhile.
                    await asyncio.wait([work, *ends], timeout=CATCH_UP_SECS, return_when=first)
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
        while self._waiting:
            again = self._waiting & self._to_repair
            pending = sorted(again or self._waiting)
            await self._build(pending, repair=bool(again))
            left = self._waiting & set(pending)
            # Another store does not hear of `--keep-going`: a failure there ends the others.
            is_cut_short = bool(self._options.store) and len(left) < len(pending)
            await self._judge(left, again=is_cut_short)

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
        links = {self._gcroots / f"{node_id}.valid": path for node_id, path in there.items()}
        if there and root_valid(links):
            for node_id in there:
                self._passed(node_id, self._gcroots / f"{node_id}.valid", cached=True)
            return
        if there and await self._root(there.values(), f"{min(there)}.valid"):
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

    async def _build(self, pending: list[str], *, repair: bool) -> None:
        for node_id in pending:
            self._observer.building(node_id)
        installables = [self._builds[name].installable for name in pending]
        derived = [name for name in installables if "^" in name]
        self._seen = Builds()
        auto_jobs = not await nix_settings.sets_max_jobs(self._options)
        if len(pending) > 1 and derived:
            await self._learn_requisites(pending)
            gathered = await nix.gather(derived)
            self._seen = Builds(gathered)
            rest = [name for name in installables if name not in derived]
            installables = [f"{gathered}^out", *rest]
        argv = self._options.build_argv(installables, auto_jobs=auto_jobs, repair=repair)
        held = (await self._confinement()).holding(argv)
        async with process.child(held, stdout=asyncio.subprocess.DEVNULL) as builder:
            self._reading = reading = asyncio.ensure_future(self._read(builder))
            try:
                await asyncio.wait({reading})
            finally:
                await _end(builder, reading)
            self._exit_code = builder.returncode or 0
        if self._settling:
            await asyncio.wait(self._settling)

    def _expire(self, started: float) -> None:
        for node_id in list(self._waiting):
            limit = self._builds[node_id].timeout_secs
            if time.monotonic() - started >= limit:
                message = f"prepare {node_id} was not built within {limit} s"
                hint = "raise its timeoutSecs, or see in the host log where it hangs"
                code = CauseCode.BUILD_TIMED_OUT
                self._finish(node_id, failed(FailureKind.TIMEOUT, code, message, hint))

    async def _read(self, builder: asyncio.subprocess.Process) -> None:
        if builder.stderr is None:
            raise InfrastructureError("nix has no stderr")
        async for line in read_lines(builder.stderr):
            event = parse_line(line)
            over = len(self._seen.over)
            if event is not None and self._seen.note(event):
                self._settle_what_is_there()
            self._fail_by(self._seen.over[over:])
            self._bring_what_is_built(self._seen.over[over:])
            if isinstance(event, Started | Stopped | Progress):
                self._show_activity()
            match event:
                case LogLine(id, text):
                    build = self._seen.running.get(id)
                    for node_id in self._concerned([build.drv] if build else []):
                        self._observer.log(node_id, text)
                case Message(text=text) if event.is_warning:
                    for node_id in self._concerned(event.named) or self._waiting:
                        self._observer.log(node_id, text)
        await builder.wait()

    def _show_activity(self) -> None:
        if (activity := self._seen.activity) != self._shown:
            self._shown = activity
            self._observer.active(activity)

    async def _learn_requisites(self, pending: list[str]) -> None:
        drvs = {name: self._builds[name].drv_path for name in pending}
        known = [name for name, drv in drvs.items() if drv and name not in self._requisites]
        found = await asyncio.gather(*(nix.requisites(drvs[name] or "") for name in known))
        for name, paths in zip(known, found, strict=True):
            self._requisites[name] = frozenset(PurePath(path).name for path in paths)

    def _concerned(self, drvs: Iterable[str]) -> list[str]:
        """The waiting nodes that need one of these derivations."""
        names = {PurePath(drv).name for drv in drvs}
        if not self._requisites:
            return list(self._waiting)
        none: frozenset[str] = frozenset()
        return [name for name in self._waiting if self._requisites.get(name, none) & names]

    def _settle_what_is_there(self) -> None:
        for node_id in self._waiting:
            if os.path.lexists(self._builds[node_id].out_path):
                self._begin(node_id, self._settle(node_id))

    def _bring_what_is_built(self, builds: list[Build]) -> None:
        """Have here what another store has built."""
        built = {build.drv for build in builds if not build.is_counted}
        if self._options.store:
            for node_id in self._waiting:
                if self._builds[node_id].drv_path in built:
                    self._begin(node_id, self._bring([node_id]))

    async def _bring(self, node_ids: Iterable[str]) -> None:
        """Copy here what another store has of nodes' outputs."""
        store = self._options.store
        paths = {self._builds[node_id].out_path for node_id in node_ids}
        if not store or not paths:
            return
        paths -= await nix.invalid_in(store, sorted(paths), self._options)
        if not paths:
            return
        argv = self._options.bring_argv(sorted(paths), store)
        done = await process.run(argv, deadline_secs=BRING_SECS)
        if done.ok:
            self._settle_what_is_there()
            return
        for node_id in node_ids:
            if self._builds[node_id].out_path in paths:
                why = f"it can't be copied from {store}: {done.reason()}"
                self._finish(node_id, nix_verdict.unavailable(node_id, why))

    def _fail_by(self, builds: list[Build]) -> None:
        """Have the nodes fail that need builds that failed."""
        for build in builds:
            if build.is_counted:
                for node_id in self._concerned([build.drv]):
                    self._begin(node_id, self._fail(node_id, build))

    def _begin(self, node_id: str, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(self._guard(node_id, work))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, node_id: str) -> bool:
        """Have a node done if its output is there; whether Nix has it for valid."""
        path = self._builds[node_id].out_path
        is_valid = await self._root([path], node_id)
        if is_valid and os.path.lexists(path):
            self._passed(node_id, self._gcroots / node_id, cached=False)
        return is_valid

    async def _fail(self, node_id: str, build: Build) -> bool:
        """Have a node fail by a build that it needs, unless that left what it should."""
        outputs = await nix.outputs(build.drv)
        store = self._options.store
        if not await (
            nix.invalid_in(store, outputs, self._options) if store else nix.invalid(outputs)
        ):
            return False
        await self._hear_why(build, outputs)
        drv_path = self._builds[node_id].drv_path
        result = await nix_verdict.of_broken(node_id, drv_path, build, self._options)
        if node_id in self._waiting:
            for error in build.errors:
                self._observer.log(node_id, error.for_people)
        self._finish(node_id, result)
        return True

    async def _hear_why(self, build: Build, outputs: list[str]) -> None:
        """Wait for the reason of a failure, which some versions say after it and some before."""
        end = time.monotonic() + REASON_SECS
        while not (build.take_errors(self._seen.errors, outputs) or build.errors):
            if self._reading.done() or time.monotonic() > end:
                break
            await asyncio.sleep(0.01)

    async def _judge(self, pending: set[str], *, again: bool) -> None:
        """Say of nodes, after Nix ended, what became of them.

        An error that ends all of Nix's work may be of one node: then the others are tried again. So
        are all of which nothing is known, if `again`.
        """
        if self._options.store:
            with suppress(InfrastructureError):  # where the store is gone, Nix has said so
                await self._bring(pending)
        for node_id in pending:
            await self._guard(node_id, self._judge_output(node_id))
        left = self._waiting & pending - self._to_repair
        for build in self._seen.over:
            for node_id in left & set(self._concerned([build.drv])):
                await self._guard(node_id, self._fail_if_named(node_id, build))
        theirs = {error: left & set(self._concerned(error.named)) for error in self._seen.errors}
        for error, nodes in theirs.items():
            for node_id in nodes & self._waiting:
                self._give_up(node_id, [error])
        if left <= self._waiting and not again:
            errors = [error for error, nodes in theirs.items() if not nodes]
            for node_id in left:
                self._give_up(node_id, [error for error in errors if not error.named] or errors)

    def _give_up(self, node_id: str, errors: list[Message]) -> None:
        """Have a node fail because Nix could not work."""
        for error in errors:
            self._observer.log(node_id, error.for_people)
        why = nix_verdict.of_ended(self._exit_code, errors, is_cut=self._seen.is_cut)
        self._finish(node_id, nix_verdict.unavailable(node_id, why))

    async def _judge_output(self, node_id: str) -> None:
        if await self._settle(node_id) and node_id in self._waiting:
            if node_id in self._to_repair:
                path = self._builds[node_id].out_path
                self._finish(node_id, nix_verdict.lost(node_id, path, self._seen.errors))
            self._to_repair.add(node_id)

    async def _fail_if_named(self, node_id: str, build: Build) -> None:
        """Have a node fail by a build because of which Nix ended: it names it as the reason."""
        if build.take_errors(self._seen.errors, await nix.outputs(build.drv)):
            await self._fail(node_id, build)

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


async def _end(builder: asyncio.subprocess.Process, reading: asyncio.Future[None]) -> None:
    """TERM for what still runs: only then Nix ends its builders. Then what became of reading."""
    if builder.returncode is None:
        # Nix does not end while its output is not read.
        rest = asyncio.ensure_future(_drain(builder)) if reading.done() else reading
        end = time.monotonic() + NIX_GRACE_SECS
        while not rest.done() and time.monotonic() < end:
            # It misses one that comes just before it waits for its builders.
            process.signal_group(builder.pid, signal.SIGTERM)
            await asyncio.wait({rest}, timeout=1.0)
        rest.cancel()
        with suppress(asyncio.CancelledError):
            await rest
    if not reading.cancelled():
        reading.result()


async def _drain(builder: asyncio.subprocess.Process) -> None:
    while builder.stderr and await builder.stderr.read(process.LINE_LIMIT):
        pass
    await builder.wait()
