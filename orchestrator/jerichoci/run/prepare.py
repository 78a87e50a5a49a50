"""The prepare step of a run: Nix builds in one call, host commands each in its workspace.

Every job waits for the nodes it needs and no others.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError
from jerichoci.machine.stop import StoppedError
from jerichoci.nix.payload_files import PayloadError
from jerichoci.nix.realised import CANCELLED, Realised, failed
from jerichoci.plan.payload import read_payload, read_payload_on
from jerichoci.plan.plan import HostCommand, NixBuild
from jerichoci.record.event import PrepareFinished, PrepareStarted
from jerichoci.record.record import PreparedOutput, PreparedPlace, PrepareTiming
from jerichoci.run.host_command import HostCommandRun
from jerichoci.run.verdict import prepare_cause
from jerichoci.state.clock import milliseconds_since, timestamp
from jerichoci.status import CauseCode, FailureKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from typing import Any

    from jerichoci.machine.stop import Stop
    from jerichoci.placement import Placement
    from jerichoci.plan.plan import PrepareNode
    from jerichoci.record.rundir import RunWriter
    from jerichoci.run.host import Host
    from jerichoci.run.host_log import HostLogs


@dataclass(frozen=True)
class _There:
    """An Observer of what is prepared on a certain host."""

    prepares: Prepares
    host: Host
    checking: set[asyncio.Task[None]] = field(default_factory=set)
    """The nodes that are made and of which it is still to be seen whether they will do."""

    def log(self, node_id: str, line: str) -> None:
        """A builder printed a line."""
        self.prepares.log(node_id, line)

    def building(self, node_id: str) -> None:
        """A node is being made."""
        self.prepares.building(node_id)

    def finished(self, node_id: str, result: Realised) -> None:
        """A node is done on that host, which may not be the first."""
        self.checking.add(asyncio.ensure_future(self._check(node_id, result)))

    async def _check(self, node_id: str, result: Realised) -> None:
        result = await _accepted_on(self.host, node_id, result)
        self.prepares.finished_on(self.host.name, node_id, result)


@dataclass
class Prepares:
    """The prepare nodes of a run and what became of each; an Observer of the Nix step."""

    writer: RunWriter
    logs: HostLogs
    nodes: Sequence[PrepareNode]
    needed_by: Mapping[str, Sequence[str]]
    """The jobs whose host logs tell of a node, by node id."""
    hosts_of: Mapping[str, Sequence[Host]]
    """The hosts that may come to need a node, by node id."""
    here: Placement
    stop: Stop
    _results: dict[str, asyncio.Future[Realised]] = field(default_factory=dict)
    _timings: dict[str, PrepareTiming] = field(default_factory=dict)
    _started: dict[str, float] = field(default_factory=dict)
    _on: dict[tuple[str, str], asyncio.Future[Realised]] = field(default_factory=dict)
    """What became of a node on a host, by the names of both."""
    _places: dict[str, list[PreparedPlace]] = field(default_factory=dict)
    _unsettled: dict[str, Realised] = field(default_factory=dict)
    """What failed on a host, and may be had on another one, by node id."""
    _work: set[asyncio.Task[None]] = field(default_factory=set)

    def begin(self) -> None:
        """Say that every node is being prepared.

        Raises:
            OSError: it can't be written; every node counts as cancelled.
        """
        loop = asyncio.get_running_loop()
        self._results.update({node.id: loop.create_future() for node in self.nodes})
        for host, nodes in self._settled():
            self._on.update({(host.name, node.id): loop.create_future() for node in nodes})
        try:
            for node in self.nodes:
                self._started[node.id] = time.monotonic()
                self._timings[node.id] = PrepareTiming(node_id=node.id, started_at=timestamp())
                jobs = list(self.needed_by[node.id])
                what = node.description
                started = PrepareStarted(node_id=node.id, description=what, needed_by=jobs)
                self.writer.emit(started)
        except OSError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Let nobody wait for a node that will not come."""
        for future in (*self._results.values(), *self._on.values()):
            if not future.done():
                future.set_result(CANCELLED)

    async def early(self, node_id: str) -> Realised | None:
        """Wait for a node; None if it is made only when a host for it is chosen."""
        node = self._node(node_id)
        if _is_built_here(node):
            return await asyncio.shield(self._results[node_id])
        hosts = self.hosts_of[node_id]
        return await self.on(hosts[0], node_id) if len(hosts) == 1 else None

    async def on(self, host: Host, node_id: str) -> Realised:
        """Have a node on a host, made or copied there if it has to be.

        Raises:
            OSError: the disk is full.
        """
        key = (host.name, node_id)
        if key not in self._on or _may_be_tried_again(self._on[key]):
            node = self._node(node_id)
            self._on[key] = asyncio.get_running_loop().create_future()
            work = self._bring(host, node) if _is_built_here(node) else self._make(host, [node])
            self._begin_work(host, [node], work)
        return await asyncio.shield(self._on[key])

    def _node(self, node_id: str) -> PrepareNode:
        return next(node for node in self.nodes if node.id == node_id)

    def log(self, node_id: str, line: str) -> None:
        """Carry a builder's line into the logs of the jobs that need the node."""
        self.logs.say(self.needed_by[node_id], node_id, line)

    def building(self, node_id: str) -> None:
        """Say that a node isn't there yet."""
        self.logs.say(self.needed_by[node_id], "pikaci", f"preparing {node_id}")

    def finished(self, node_id: str, result: Realised) -> None:
        """Record the end of a node that is built here, and let the jobs that wait go on."""
        result = _accepted(node_id, result)
        self._tell(node_id, self.here.host, result, "")
        self._results[node_id].set_result(result)

    def finished_on(self, host: str, node_id: str, result: Realised) -> None:
        """Record a node's end on a host."""
        is_open = not self._results[node_id].done()
        where = "" if host == self.here.host else f" on {host}"
        if is_open and self._may_be_had_elsewhere(host, node_id, result):
            self._unsettled[node_id] = result
            is_open = False
        if is_open:
            self._tell(node_id, host, result, where)
            self._results[node_id].set_result(result)
        else:
            self._say(node_id, result, where)
            self._note_place(node_id, host, result)
        future = self._on.get((host, node_id))
        if future is not None and not future.done():
            future.set_result(result)

    def _may_be_had_elsewhere(self, host: str, node_id: str, result: Realised) -> bool:
        """Whether it is a host's fault, and there are others that the jobs can have it on."""
        if result.failure_kind is not FailureKind.INFRASTRUCTURE:
            return False
        tried = {place.host for place in self._places.get(node_id, [])} | {host}
        return len(tried) < len(self.hosts_of[node_id])

    def _tell(self, node_id: str, host: str, result: Realised, where: str) -> None:
        took = milliseconds_since(self._started[node_id])
        self._say(node_id, result, f"{where} ({took} ms)")
        self._note_place(node_id, host, result)
        self._finish(node_id, result, took)

    def _finish(self, node_id: str, result: Realised, took: int) -> None:
        """Say once for all what became of a node."""
        self._timings[node_id] = self._timings[node_id].with_(
            finished_at=timestamp(),
            duration_ms=took,
            cached=result.cached,
            outcome=result.outcome,
        )
        self.writer.emit(
            PrepareFinished(
                node_id=node_id,
                outcome=result.outcome,
                cached=result.cached,
                duration_ms=took,
                cause=prepare_cause(result),
            )
        )

    def _say(self, node_id: str, result: Realised, where: str) -> None:
        text = f"prepare {node_id} {result.outcome}" + (", cached" if result.cached else "")
        self.logs.say(self.needed_by[node_id], "pikaci", f"{text}{where}")
        if result.fault:
            self.logs.say(self.needed_by[node_id], "pikaci", result.fault.message)

    def _note_place(self, node_id: str, host: str, result: Realised) -> None:
        is_here = host == self.here.host
        root = result.gc_root
        if root is not None and is_here:
            root = Path(self.writer.layout.relative(root))
        place = PreparedPlace(
            host=host,
            outcome=result.outcome,
            how=_how(self._node(node_id), result, is_here=is_here),
            bytes_moved=result.copied_bytes or 0,
            path=result.path,
            gc_root=str(root) if root else None,
            cause=prepare_cause(result),
        )
        # What was tried again there counts as it ended.
        others = [row for row in self._places.get(node_id, []) if row.host != host]
        self._places[node_id] = [*others, place]

    def record(self) -> None:
        """Write what became of every node.

        Raises:
            OSError: the disk is full.
        """
        rows = []
        for node in self.nodes:
            result = self._results[node.id].result() if self._is_over(node.id) else CANCELLED
            drv = node.prepare.drv_path if isinstance(node.prepare, NixBuild) else None
            places = self._places.get(node.id, [])
            made = next((row for row in places if row.outcome is Outcome.PASSED), None)
            rows.append(
                PreparedOutput(
                    node_id=node.id,
                    type=node.prepare.type,
                    outcome=made.outcome if made else result.outcome,
                    cached=made.how == "valid" if made else result.cached,
                    path=made.path if made else result.path,
                    drv_path=drv,
                    gc_root=made.gc_root if made else None,
                    cause=None if made else prepare_cause(result),
                    places=places,
                )
            )
        self.writer.write_outputs(rows)
        self.writer.update(prepare_timings=list(self._timings.values()))

    def _is_over(self, node_id: str) -> bool:
        return node_id in self._results and self._results[node_id].done()

    async def run(self) -> None:
        """Prepare every node of which it is known where; each of those has its result then.

        Raises:
            OSError: the disk is full.
        """
        builds = {
            node.id: node.prepare.request()
            for node in self.nodes
            if isinstance(node.prepare, NixBuild) and _is_built_here(node)
        }
        run_id = self.writer.layout.run_id
        try:
            async with asyncio.TaskGroup() as tasks:
                if builds:
                    work = self.here.realise(builds, run_id, self, self.stop)
                    tasks.create_task(work)
                for host, nodes in self._settled():
                    tasks.create_task(self._guard(host, nodes, self._make(host, nodes)))
        except BaseException:
            self.abandon()
            raise
        self.record()

    def _settled(self) -> list[tuple[Host, list[PrepareNode]]]:
        """The nodes that only one host can come to need, host by host."""
        found: dict[str, tuple[Host, list[PrepareNode]]] = {}
        for node in self.nodes:
            hosts = self.hosts_of[node.id]
            if not _is_built_here(node) and len(hosts) == 1:
                found.setdefault(hosts[0].name, (hosts[0], []))[1].append(node)
        return list(found.values())

    async def close(self) -> None:
        """End what is still being prepared, and write what became of it all.

        Raises:
            OSError: the disk is full.
        """
        had_work = bool(self._places)
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        for node_id, result in self._unsettled.items():
            if not self._results[node_id].done():
                self._finish(node_id, result, milliseconds_since(self._started[node_id]))
                self._results[node_id].set_result(result)
        self.abandon()
        if had_work:
            self.record()

    def _begin_work(
        self, host: Host, nodes: Sequence[PrepareNode], work: Coroutine[Any, Any, None]
    ) -> None:
        task = asyncio.create_task(self._guard(host, nodes, work))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _guard(
        self, host: Host, nodes: Sequence[PrepareNode], work: Coroutine[Any, Any, None]
    ) -> None:
        """Let what goes wrong on a host be the failure of the nodes that were to be there."""
        try:
            await work
        except StoppedError:
            self._give_up(host, nodes, CANCELLED)
        except asyncio.CancelledError:
            self._give_up(host, nodes, CANCELLED)
            raise
        except PikaciError as error:
            code = CauseCode.PREPARE_UNAVAILABLE
            why = failed(FailureKind.INFRASTRUCTURE, code, error.message, error.hint)
            self._give_up(host, nodes, why)
        except Exception as error:
            for node in nodes:
                future = self._on[host.name, node.id]
                if not future.done():
                    future.set_exception(error)
                    future.exception()
            raise

    def _give_up(self, host: Host, nodes: Sequence[PrepareNode], result: Realised) -> None:
        for node in nodes:
            if not self._on[host.name, node.id].done():
                self.finished_on(host.name, node.id, result)

    async def _bring(self, host: Host, node: PrepareNode) -> None:
        """Copy to a host what is built here, unless that is the host."""
        built = await asyncio.shield(self._results[node.id])
        if built.ok:
            await self.stop.unless(host.open())
            run_id = self.writer.layout.run_id
            brought = await self.stop.unless(host.placement.bring(node.id, built, run_id))
            if brought is not built:
                self.finished_on(host.name, node.id, brought)
        future = self._on[host.name, node.id]
        if not future.done():
            future.set_result(built)

    async def _make(self, host: Host, nodes: Sequence[PrepareNode]) -> None:
        """Make nodes on a host."""
        await self.stop.unless(host.open())
        observer = _There(self, host)
        builds = {n.id: n.prepare.request() for n in nodes if isinstance(n.prepare, NixBuild)}
        run_id = self.writer.layout.run_id
        async with asyncio.TaskGroup() as tasks:
            if builds:
                work = host.placement.realise(builds, run_id, observer, self.stop)
                tasks.create_task(work)
            for node in nodes:
                if isinstance(node.prepare, HostCommand):
                    tasks.create_task(self._run_command(node, node.prepare, host))
        await asyncio.gather(*observer.checking)

    async def _run_command(self, node: PrepareNode, spec: HostCommand, host: Host) -> None:
        for needed in node.depends_on:
            before = await self.on(host, needed)
            if not before.ok:
                result = replace(before, path=None, gc_root=None)
                self.finished_on(host.name, node.id, result)
                return
        self.building(node.id)
        try:
            snapshot = await self.stop.unless(host.snapshot())
            command = HostCommandRun(
                node.id,
                spec,
                self.writer.layout,
                placement=host.placement,
                snapshot=snapshot,
                log=self.log,
            )
            result = await _accepted_on(host, node.id, await command.run(self.stop))
        except StoppedError:
            result = CANCELLED
        except PikaciError as error:
            code = CauseCode.PREPARE_UNAVAILABLE
            result = failed(FailureKind.INFRASTRUCTURE, code, error.message, error.hint)
        self.finished_on(host.name, node.id, result)


def _is_built_here(node: PrepareNode) -> bool:
    """Whether it is built by this machine's Nix, wherever it is needed."""
    return isinstance(node.prepare, NixBuild) and node.prepare.residency == "local"


def _may_be_tried_again(future: asyncio.Future[Realised]) -> bool:
    if not future.done() or future.exception() is not None:
        return False
    return future.result().failure_kind is FailureKind.INFRASTRUCTURE


def _how(node: PrepareNode, result: Realised, *, is_here: bool) -> str | None:
    """How it came to where it is: `valid`, `built`, `copied` or `command`."""
    if not result.ok:
        return None
    if isinstance(node.prepare, HostCommand):
        return "command"
    if result.cached:
        return "valid"
    return "copied" if _is_built_here(node) and not is_here else "built"


async def _accepted_on(host: Host, node_id: str, result: Realised) -> Realised:
    """The result, unless what the output, which is on a host, says of itself is wrong."""
    if result.path is None:
        return result
    try:
        await read_payload_on(host.placement, Path(result.path))
    except PayloadError as error:
        return _refused(node_id, error)
    return result


def _accepted(node_id: str, result: Realised) -> Realised:
    """The same of an output that is here."""
    if result.path is None:
        return result
    try:
        read_payload(Path(result.path))
    except PayloadError as error:
        return _refused(node_id, error)
    return result


def _refused(node_id: str, error: PayloadError) -> Realised:
    message = f"prepare {node_id}: {error.message}"
    return failed(FailureKind.TEST_FAILURE, CauseCode.PAYLOAD_INVALID, message, error.hint)
