"""The prepare nodes of a run: each has a task on every host whose jobs need it.

What this machine's Nix builds is built once, and copied to each host. A host command, or a build
whose residency is remote, is made on the host of its jobs: at once if they fit only one host, else
when a job has taken one.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.errors import PikaciError
from jerichoci.machine.stop import StoppedError, StopReason
from jerichoci.nix.payload_files import PayloadError
from jerichoci.nix.realised import CANCELLED, Realised, failed
from jerichoci.plan.payload import read_payload_on
from jerichoci.plan.plan import HostCommand, NixBuild, PrepareNode
from jerichoci.record.event import PrepareFinished, PrepareStarted
from jerichoci.record.record import PreparedOutput, PreparedPlace, PrepareTiming
from jerichoci.run.copies import COPIES_END_SECS
from jerichoci.run.host_command import HostCommandRun
from jerichoci.run.nix_batch import NixBatch
from jerichoci.run.verdict import prepare_cause
from jerichoci.state.clock import milliseconds_since, timestamp
from jerichoci.status import CacheUse, CauseCode, FailureKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from jerichoci.caches.outputs import OutputsCache
    from jerichoci.placement import Placement
    from jerichoci.record.record import OutputCopy
    from jerichoci.run.context import RunContext
    from jerichoci.run.fleet import RunHost


class Prepares:
    """The prepare nodes that a run needs, by id."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._batches: dict[str, NixBatch] = {}
        nodes = [node for node in run.plan.prepares if node.id in run.selected]
        self._nodes = {node.id: Prepare(node, run, self) for node in nodes}
        self._copies: dict[str, asyncio.Future[OutputCopy]] = {}

    def __getitem__(self, node_id: str) -> Prepare:
        return self._nodes[node_id]

    def begin(self) -> None:
        """Begin every node whose host is known."""
        for prepare in self._nodes.values():
            prepare.announce()
        for prepare in self._nodes.values():
            prepare.begin()

    async def wait(self) -> None:
        """Wait for the nodes that have begun."""
        tasks = [task for prepare in self._nodes.values() for task in prepare.tasks]
        if tasks:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        self._record()

    def copy(self, node_id: str, path: str) -> None:
        """Begin to copy what a node has in this machine's store, if that is wanted."""
        if self._run.copies is not None and node_id not in self._copies:
            self._copies[node_id] = self._run.copies.copy(path)

    async def wait_for_copies(self) -> None:
        """Wait for the copies of what has been prepared, but not forever, nor for a cancelled run.

        What was not copied is noted in the run's record.
        """
        if self._copies:
            cancelled = asyncio.ensure_future(self._cancelled())
            everything = asyncio.ensure_future(asyncio.wait(self._copies.values()))
            ends: set[asyncio.Future[Any]] = {everything, cancelled}
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait(ends, timeout=COPIES_END_SECS, return_when=first)
            for end in ends:
                end.cancel()
        lost: dict[str, list[str]] = {}
        for node_id in self._copies:
            for copy in self.copies_of(node_id):
                if copy.message is not None:
                    lost.setdefault(f"copied to {copy.store}: {copy.message}", []).append(node_id)
        notes = [f"{_some(nodes)} not {why}" for why, nodes in lost.items()]
        self._run.writer.update(notes=notes)

    async def _cancelled(self) -> None:
        stop = self._run.stop
        await stop.wait()
        if stop.reason is StopReason.FAIL_FAST:
            # What stops it again is a cancel.
            await stop.stop_now.wait()

    def copies_of(self, node_id: str) -> list[OutputCopy]:
        """What became of the copy of a node's output, if there is one."""
        copy, copies = self._copies.get(node_id), self._run.copies
        if copy is None or copies is None:
            return []
        if copy.done():
            return [copy.result()]
        is_late = not self._run.stop.is_set()
        why = (
            f"it took more than {COPIES_END_SECS:g} s after the jobs"
            if is_late
            else "the run ended"
        )
        return [copies.unfinished(why)]

    async def close(self) -> None:
        """Wait for what is still being prepared, and write what became of it all."""
        tasks = [task for prepare in self._nodes.values() for task in prepare.tasks]
        await asyncio.gather(*tasks, return_exceptions=True)
        for prepare in self._nodes.values():
            prepare.close()
        if tasks:
            self._record()

    def batch(self, host: RunHost | None) -> NixBatch:
        """The Nix builds of a host; without one, of this machine."""
        name = host.name if host else self._run.fleet.here.host
        if name not in self._batches:
            self._batches[name] = NixBatch(self._run, host, self.log, self.building)
        return self._batches[name]

    def log(self, node_id: str, line: str) -> None:
        """Carry a line that a node printed into the logs of the jobs that need it."""
        prepare = self[node_id]
        self._run.logs.say(prepare.needed_by, prepare.node.name, line)

    def building(self, node_id: str) -> None:
        prepare = self[node_id]
        self._run.logs.say(prepare.needed_by, "pikaci", f"preparing {prepare.node.name}")

    def _record(self) -> None:
        nodes = self._nodes.values()
        self._run.writer.write_outputs([prepare.output() for prepare in nodes])
        self._run.writer.update(prepare_timings=[prepare.timing for prepare in nodes])


class Prepare:
    """One prepare node."""

    def __init__(self, node: PrepareNode, run: RunContext, others: Prepares) -> None:
        self.node = node
        self.needed_by = [job.job_id for job in run.fleet.jobs_needing(node)]
        """The jobs whose host logs it is logged to."""
        self._ids: Any = {"node_id": node.id, "prepare_id": node.prepare_id}
        self.timing = PrepareTiming(**self._ids, started_at=timestamp())
        self._run = run
        self._others = others
        self._hosts = run.fleet.hosts_for(node)
        self._began = time.monotonic()
        self._result: Realised | None = None
        """Its final result."""
        self._retryable: Realised | None = None
        """Why it failed on one host, while it may be had on another."""
        self._places: dict[str, PreparedPlace] = {}
        self._built: asyncio.Task[Realised] | None = None
        """Its build on this machine."""
        self._results_by_host: dict[str, asyncio.Task[Realised]] = {}

    @property
    def tasks(self) -> list[asyncio.Task[Realised]]:
        """What has begun, on any host."""
        return [*([self._built] if self._built else []), *self._results_by_host.values()]

    def announce(self) -> None:
        what, jobs = self.node.description, list(self.needed_by)
        self._run.writer.emit(PrepareStarted(**self._ids, description=what, needed_by=jobs))

    def begin(self) -> None:
        """Begin it, if its host is known."""
        prepare = self.node.prepare
        if isinstance(prepare, NixBuild) and prepare.residency == "local":
            self._built = asyncio.create_task(self._have(None))
        elif len(self._hosts) == 1:
            self._begin_on(self._hosts[0])

    async def result_if_placed(self) -> Realised | None:
        """What becomes of it; None if it is made only when a job has taken a host."""
        if self._built is not None:
            return await asyncio.shield(self._built)
        return await self.result_on(self._hosts[0]) if len(self._hosts) == 1 else None

    async def result_on(self, host: RunHost) -> Realised:
        """What becomes of it on a host, where it is made or copied if it has to be."""
        task = self._results_by_host.get(host.name)
        if task is None or _may_be_tried_again(task):
            task = self._begin_on(host)
        return await asyncio.shield(task)

    def _begin_on(self, host: RunHost) -> asyncio.Task[Realised]:
        work = self._copy(self._built, host) if self._built else self._have(host)
        task = self._results_by_host[host.name] = asyncio.create_task(work)
        return task

    async def _copy(self, build: asyncio.Task[Realised], host: RunHost) -> Realised:
        """Have what this machine builds on a host."""
        built = await asyncio.shield(build)
        if not built.ok or host.placement is self._run.fleet.here:
            return built
        return await self._noted(host.placement, self._bring(built, host))

    async def _bring(self, built: Realised, host: RunHost) -> Realised:
        stop = self._run.stop
        await stop.unless(host.open())
        return await stop.unless(host.placement.bring(self.node.id, built, self._run.run_id))

    async def _have(self, host: RunHost | None) -> Realised:
        """Make it on a host, or on this machine."""
        placement = host.placement if host else self._run.fleet.here
        return await self._noted(placement, self._make(placement, host))

    async def _make(self, placement: Placement, host: RunHost | None) -> Realised:
        prepare = self.node.prepare
        if isinstance(prepare, NixBuild):
            result = await self._others.batch(host).build(self.node.id, prepare.request())
        elif host is not None:
            result = await self._run_command(prepare, host)
        return await self._accepted(placement, result)

    async def _noted(self, placement: Placement, work: Awaitable[Realised]) -> Realised:
        """The result of work on a host, which is recorded."""
        try:
            result = await work
        except StoppedError:
            result = CANCELLED
        except PikaciError as error:
            code = CauseCode.PREPARE_UNAVAILABLE
            result = failed(FailureKind.INFRASTRUCTURE, code, error.message, error.hint)
        result = self._named(result)
        self._note(placement, result)
        return result

    def _named(self, result: Realised) -> Realised:
        """The result, its sentence with the prepare's id in place of the node's."""
        own, fault = f"prepare {self.node.id} ", result.fault
        if fault is None or not fault.message.startswith(own):
            return result
        message = f"prepare {self.node.name} {fault.message.removeprefix(own)}"
        return replace(result, fault=replace(fault, message=message))

    async def _run_command(self, spec: HostCommand, host: RunHost) -> Realised:
        stop = self._run.stop
        await stop.unless(host.open())
        for needed in self.node.depends_on:
            before = await self._others[needed].result_on(host)
            if not before.ok:
                return replace(before, path=None, gc_root=None)
        self._others.building(self.node.id)
        command = HostCommandRun(
            self.node.id,
            spec,
            self._run.writer.layout,
            host.placement,
            await stop.unless(host.snapshot()),
            self._others.log,
            await self._outputs_cache(spec, host.placement),
        )
        return await command.run(stop)

    async def _outputs_cache(self, spec: HostCommand, placement: Placement) -> OutputsCache | None:
        """Where its outputs may be from an earlier run, if it says what they are made of."""
        use = self._run.request.cache_use
        if not spec.inputs or use is CacheUse.OFF:
            return None
        from jerichoci.caches.outputs import outputs_cache

        tree = self._run.request.source.snapshot_id
        return await outputs_cache(self._run.state, tree, self.node.id, spec, placement, use)

    async def _accepted(self, placement: Placement, result: Realised) -> Realised:
        """The result, unless what the output says of itself is wrong."""
        if result.path is None:
            return result
        try:
            await self._run.stop.unless(read_payload_on(placement, Path(result.path)))
        except PayloadError as error:
            message = f"prepare {self.node.name}: {error.message}"
            code = CauseCode.PAYLOAD_INVALID
            return failed(FailureKind.TEST_FAILURE, code, message, error.hint)
        return result

    def _note(self, placement: Placement, result: Realised) -> None:
        """Record what became of it on a host; the first end that is not retryable is the node's."""
        is_here = placement is self._run.fleet.here
        self._places[placement.host] = self._place(placement.host, result, is_here=is_here)
        is_end = self._result is None and not self._may_be_had_elsewhere(result)
        took = milliseconds_since(self._began)
        text = f"prepare {self.node.name} {result.outcome}" + (", cached" if result.cached else "")
        text += "" if is_here else f" on {placement.host}"
        self._run.logs.say(self.needed_by, "pikaci", text + (f" ({took} ms)" if is_end else ""))
        if result.fault:
            self._run.logs.say(self.needed_by, "pikaci", result.fault.message)
        if is_here and result.path is not None and isinstance(self.node.prepare, NixBuild):
            self._others.copy(self.node.id, result.path)
        if is_end:
            self._finish(result, took)
        else:
            self._retryable = result

    def _may_be_had_elsewhere(self, result: Realised) -> bool:
        """Whether it is a host's fault, and other hosts are left that its jobs can be on."""
        is_hosts = result.failure_kind is FailureKind.INFRASTRUCTURE and self._built is None
        return is_hosts and len(self._places) < len(self._hosts)

    def _place(self, host: str, result: Realised, *, is_here: bool) -> PreparedPlace:
        root = result.gc_root
        if root is not None and is_here:
            root = Path(self._run.writer.layout.relative(root))
        return PreparedPlace(
            host=host,
            outcome=result.outcome,
            how=self._how(result, is_here=is_here) if result.ok else None,
            bytes_moved=result.copied_bytes or 0,
            path=result.path,
            gc_root=str(root) if root else None,
            cause=prepare_cause(result),
        )

    def _how(self, result: Realised, *, is_here: bool) -> str:
        """How it came to where it is: as `PreparedPlace` has it."""
        if isinstance(self.node.prepare, HostCommand):
            return "cached" if result.cached else "command"
        if result.cached:
            return "valid"
        return "copied" if self._built and not is_here else "built"

    def _finish(self, result: Realised, took: int) -> None:
        self._result = result
        end: Any = {"outcome": result.outcome, "cached": result.cached, "duration_ms": took}
        self.timing = self.timing.with_(finished_at=timestamp(), **end)
        cause = prepare_cause(result)
        self._run.writer.emit(PrepareFinished(node_id=self.node.id, cause=cause, **end))

    def close(self) -> None:
        """Have a failure on one host be the node's: no job will ask for it on another."""
        if self._result is None and self._retryable is not None:
            self._finish(self._retryable, milliseconds_since(self._began))

    def output(self) -> PreparedOutput:
        result = self._result or CANCELLED
        spec = self.node.prepare
        places = list(self._places.values())
        made = next((place for place in places if place.outcome is Outcome.PASSED), None)
        return PreparedOutput(
            **self._ids,
            type=spec.type,
            outcome=made.outcome if made else result.outcome,
            cached=made.how in {"valid", "cached"} if made else result.cached,
            path=made.path if made else result.path,
            drv_path=spec.drv_path if isinstance(spec, NixBuild) else None,
            gc_root=made.gc_root if made else None,
            cause=None if made else prepare_cause(result),
            places=places,
            copies=self._others.copies_of(self.node.id),
        )


def _some(node_ids: Sequence[str]) -> str:
    """Prepares in a note."""
    if len(node_ids) == 1:
        return f"prepare {node_ids[0]} was"
    return f"{len(node_ids)} prepares, {node_ids[0]} among them, were"


def _may_be_tried_again(task: asyncio.Task[Realised]) -> bool:
    if not task.done() or task.cancelled() or task.exception() is not None:
        return False
    return task.result().failure_kind is FailureKind.INFRASTRUCTURE
