"""The prepare step of a run: Nix builds in one call, host commands each in its workspace.

Every job waits for the nodes it needs and no others.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jerichoci.clock import milliseconds_since, timestamp
from jerichoci.environment import host_environment
from jerichoci.errors import PikaciError
from jerichoci.event import PrepareFinished, PrepareStarted
from jerichoci.log import read_log
from jerichoci.plan import HostCommand, NixBuild
from jerichoci.realise import CANCELLED, Realised, failed
from jerichoci.record import PreparedOutput, PrepareTiming
from jerichoci.runtime.host_process import ShellCommand
from jerichoci.status import CauseCode, FailureKind, Outcome
from jerichoci.stop import StoppedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from jerichoci.hostlog import HostLogs
    from jerichoci.placement import Placement
    from jerichoci.plan import PrepareNode
    from jerichoci.rundir import RunWriter
    from jerichoci.stop import Stop

TAIL_SECS = 0.1
"""How often a host command's output is carried into the jobs' logs."""


@dataclass(frozen=True)
class Host:
    """A placement and the run's snapshot on it."""

    placement: Placement
    snapshot: Callable[[], Awaitable[Path]]


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
                            tasks.create_task(self._run_command(node, host, stop))
        finally:
            self.abandon()
        self.record()

    async def _run_command(self, node: PrepareNode, host: Host, stop: Stop) -> None:
        for needed in node.depends_on:
            before = await self.result(needed)
            if not before.ok:
                self.finished(node.id, replace(before, path=None, gc_root=None))
                return
        self.building(node.id)
        try:
            snapshot = await stop.unless(host.snapshot())
            result = await HostCommandRun(self, node, host.placement, snapshot).run(stop)
        except StoppedError:
            result = CANCELLED
        except PikaciError as error:
            code = CauseCode.PREPARE_UNAVAILABLE
            result = failed(FailureKind.INFRASTRUCTURE, code, error.message, error.hint)
        self.finished(node.id, result)


class HostCommandRun:
    """A host command: its text in a private workspace, its named outputs moved out of it."""

    def __init__(
        self, prepares: Prepares, node: PrepareNode, placement: Placement, snapshot: Path
    ) -> None:
        if not isinstance(node.prepare, HostCommand):
            raise TypeError(node.prepare)
        self._prepares = prepares
        self._node = node
        self._spec = node.prepare
        self._placement = placement
        self._snapshot = snapshot
        self._results = prepares.writer.layout.prepared / node.id
        self._scratch = prepares.writer.layout.scratch / f"prepare-{node.id}"
        self._log = self._results / "log"

    async def run(self, stop: Stop) -> Realised:
        """Run it and take its outputs."""
        out = self._results / "out"
        await self._placement.make_directory(out)
        shell = ShellCommand(
            self._placement,
            await self._placement.confinement(),
            command=_with_outputs(self._spec),
            env=host_environment() | {"PIKACI_OUT": str(out)},
            snapshot=self._snapshot,
            scratch=self._scratch,
            log=self._log,
        )
        try:
            await shell.prepare()
            await shell.launch()
            tail = asyncio.ensure_future(self._carry_log())
            try:
                finish = await shell.wait(self._spec.timeout_secs, stop)
            finally:
                await asyncio.sleep(0)
                tail.cancel()
                await asyncio.wait({tail})
                self._carry(final=True)
        finally:
            await shell.close()
            await self._placement.remove(self._scratch)
        if finish.stopped:
            return CANCELLED
        if finish.timed_out:
            message = f"prepare {self._node.id} did not end within {self._spec.timeout_secs} s"
            return failed(FailureKind.TIMEOUT, CauseCode.HOST_COMMAND_TIMED_OUT, message)
        if finish.exit_code == MISSING_OUTPUT_EXIT:
            message = f"prepare {self._node.id} ended without leaving all its outputs"
            hint = f"it names {', '.join(self._spec.outputs)}; the host log says which is missing"
            return failed(FailureKind.TEST_FAILURE, CauseCode.OUTPUT_MISSING, message, hint)
        if finish.exit_code != 0:
            message = f"prepare {self._node.id} exited with {finish.exit_code}"
            hint = "its output is in the host log"
            return failed(FailureKind.TEST_FAILURE, CauseCode.HOST_COMMAND_FAILED, message, hint)
        return Realised(Outcome.PASSED, str(out))

    _offset = 0
    _rest = b""

    async def _carry_log(self) -> None:
        while True:
            self._carry(final=False)
            await asyncio.sleep(TAIL_SECS)

    def _carry(self, *, final: bool) -> None:
        chunk = read_log(self._log, self._offset)
        self._offset = chunk.next_offset
        *lines, self._rest = (self._rest + chunk.data).split(b"\n")
        if final and self._rest:
            lines.append(self._rest)
        for line in lines:
            self._prepares.log(self._node.id, line.decode("utf-8", "surrogateescape"))


MISSING_OUTPUT_EXIT = 121
"""How the wrapper of a host command says that an output isn't there."""


def _with_outputs(spec: HostCommand) -> str:
    """The command in a subshell, then its outputs copied to `$PIKACI_OUT` while they can be seen.

    The workspace may be an overlay that exists only in the command's own mount namespace.
    """
    import shlex

    lines = [f"( {spec.command}\n) || exit", ""]
    for output in spec.outputs:
        name = shlex.quote(output)
        lines.append(
            f"if [ ! -e {name} ]; then echo {shlex.quote(f'pikaci: no output {output}')} >&2;"
            f" exit {MISSING_OUTPUT_EXIT}; fi;"
            f' mkdir -p "$(dirname "$PIKACI_OUT"/{name})"'
            f' && cp -a -- {name} "$PIKACI_OUT"/{name} || exit'
        )
    return "\n".join(lines)
