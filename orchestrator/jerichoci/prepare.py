"""The prepare step of a run: Nix builds in one call, host commands each in its workspace.

Every job waits for the nodes it needs and no others.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.clock import milliseconds_since, timestamp
from jerichoci.errors import PikaciError
from jerichoci.event import PrepareFinished, PrepareStarted
from jerichoci.hostcommand import HostCommandRun
from jerichoci.payload import PayloadError, read_payload
from jerichoci.plan import HostCommand, NixBuild
from jerichoci.realise import CANCELLED, Realised, failed
from jerichoci.record import PreparedOutput, PrepareTiming
from jerichoci.status import CauseCode, FailureKind
from jerichoci.stop import StoppedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from jerichoci.hostlog import HostLogs
    from jerichoci.placement import Placement
    from jerichoci.plan import PrepareNode
    from jerichoci.rundir import RunWriter
    from jerichoci.runtime.guest_survey import GuestSurvey
    from jerichoci.stop import Stop


@dataclass(frozen=True)
class Host:
    """A placement and the run's snapshot on it."""

    placement: Placement
    snapshot: Callable[[], Awaitable[Path]]
    survey: GuestSurvey | None = None
    """What was found there before the run began."""


@dataclass
class Prepares:
    """The prepare nodes of a run and what became of each; an Observer of the Nix step."""

    writer: RunWriter
    logs: HostLogs
    nodes: Sequence[PrepareNode]
    needed_by: Mapping[str, Sequence[str]]
    """The jobs whose host logs tell of a node, by node id."""
    _results: dict[str, asyncio.Future[Realised]] = field(default_factory=dict)
    _timings: dict[str, PrepareTiming] = field(default_factory=dict)
    _started: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        """Say that every node is being prepared.

        Raises:
            OSError: it can't be written; every node counts as cancelled.
        """
        loop = asyncio.get_running_loop()
        self._results.update({node.id: loop.create_future() for node in self.nodes})
        try:
            for node in self.nodes:
                self._started[node.id] = time.monotonic()
                self._timings[node.id] = PrepareTiming(node_id=node.id, started_at=timestamp())
                self.writer.emit(PrepareStarted(node_id=node.id, description=node.description))
        except OSError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Let nobody wait for a node that will not come."""
        for future in self._results.values():
            if not future.done():
                future.set_result(CANCELLED)

    async def result(self, node_id: str) -> Realised:
        """Wait for a node."""
        return await asyncio.shield(self._results[node_id])

    def log(self, node_id: str, line: str) -> None:
        """Carry a builder's line into the logs of the jobs that need the node."""
        self.logs.say(self.needed_by[node_id], node_id, line)

    def building(self, node_id: str) -> None:
        """Say that a node isn't there yet."""
        self.logs.say(self.needed_by[node_id], "pikaci", f"preparing {node_id}")

    def finished(self, node_id: str, result: Realised) -> None:
        """Record a node's end and let the jobs that wait for it go on."""
        result = _accepted(node_id, result)
        took = milliseconds_since(self._started[node_id])
        text = f"prepare {node_id} {result.outcome}" + (", cached" if result.cached else "")
        self.logs.say(self.needed_by[node_id], "pikaci", f"{text} ({took} ms)")
        if result.cause:
            self.logs.say(self.needed_by[node_id], "pikaci", result.cause.message)
        self._timings[node_id] = self._timings[node_id].with_(
            finished_at=timestamp(),
            duration_ms=took,
            cached=result.cached,
            outcome=result.outcome,
        )
        self._results[node_id].set_result(result)
        self.writer.emit(
            PrepareFinished(
                node_id=node_id,
                outcome=result.outcome,
                cached=result.cached,
                duration_ms=took,
                cause=result.cause,
            )
        )

    def record(self) -> None:
        """Write what became of every node.

        Raises:
            OSError: the disk is full.
        """
        rows = []
        for node in self.nodes:
            result = self._results[node.id].result()
            drv = node.prepare.drv_path if isinstance(node.prepare, NixBuild) else None
            root = self.writer.layout.relative(result.gc_root) if result.gc_root else None
            rows.append(
                PreparedOutput(
                    node_id=node.id,
                    type=node.prepare.type,
                    outcome=result.outcome,
                    cached=result.cached,
                    path=result.path,
                    drv_path=drv,
                    gc_root=root,
                    cause=result.cause,
                )
            )
        self.writer.write_outputs(rows)
        self.writer.update(prepare_timings=list(self._timings.values()))

    async def run(self, hosts: Mapping[str, Host], stop: Stop) -> None:
        """Prepare every node; each has its result afterwards, even if this raises.

        Raises:
            OSError: the disk is full.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, host in hosts.items():
                    mine = [node for node in self.nodes if node.placement == name]
                    builds = {n.id: n.prepare for n in mine if isinstance(n.prepare, NixBuild)}
                    if builds:
                        gcroots = self.writer.layout.gcroots
                        tasks.create_task(host.placement.realise(builds, gcroots, self, stop))
                    for node in mine:
                        if isinstance(node.prepare, HostCommand):
                            tasks.create_task(self._run_command(node, node.prepare, host, stop))
        finally:
            self.abandon()
        self.record()

    async def _run_command(
        self, node: PrepareNode, spec: HostCommand, host: Host, stop: Stop
    ) -> None:
        for needed in node.depends_on:
            before = await self.result(needed)
            if not before.ok:
                self.finished(node.id, replace(before, path=None, gc_root=None))
                return
        self.building(node.id)
        try:
            snapshot = await stop.unless(host.snapshot())
            command = HostCommandRun(
                node.id,
                spec,
                self.writer.layout,
                placement=host.placement,
                snapshot=snapshot,
                log=self.log,
            )
            result = await command.run(stop)
        except StoppedError:
            result = CANCELLED
        except PikaciError as error:
            code = CauseCode.PREPARE_UNAVAILABLE
            result = failed(FailureKind.INFRASTRUCTURE, code, error.message, error.hint)
        self.finished(node.id, result)


def _accepted(node_id: str, result: Realised) -> Realised:
    """The result, unless what the output says of itself is wrong."""
    if result.path is None:
        return result
    try:
        read_payload(Path(result.path))
    except PayloadError as error:
        message = f"prepare {node_id}: {error.message}"
        return failed(FailureKind.TEST_FAILURE, CauseCode.PAYLOAD_INVALID, message, error.hint)
    return result
