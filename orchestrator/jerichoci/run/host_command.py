"""A host command: its text in a private workspace, its named outputs copied out of it."""

from __future__ import annotations

import asyncio
import os
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine.ending import in_words
from jerichoci.nix.realised import CANCELLED, Realised, failed
from jerichoci.placement import Placement, operations
from jerichoci.runtime.host_process import ShellCommand
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import RunLayout, make_private
from jerichoci.state.line_splitter import LineSplitter
from jerichoci.state.log_file import read_log
from jerichoci.status import CauseCode, FailureKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jerichoci.caches.outputs import OutputsCache
    from jerichoci.machine.stop import Stop
    from jerichoci.plan.plan import HostCommand

TAIL_SECS = 0.1
"""How often a host command's output is carried into the jobs' logs."""
NAME_BYTES = 4096
"""What a path may have."""
CHUNK_BYTES = 1024 * 1024
"""Carried at once; then whatever else runs has its turn."""


@dataclass
class HostCommandRun:
    """One execution of a host command; `_say` takes a node's id and a line it printed."""

    _id: str
    _spec: HostCommand
    _run: RunLayout
    _placement: Placement
    _snapshot: Path
    _say: Callable[[str, str], None]
    _cache: OutputsCache | None = None

    def __post_init__(self) -> None:
        there = RunLayout(self._placement.run_directory(self._run.run_id))
        self._results = there.prepared / self._id
        self._scratch = there.scratch / f"prepare-{self._id}"
        self._log = self._run.prepared / self._id / "log"
        self._missing = self._results / "missing"

    async def run(self, stop: Stop) -> Realised:
        out = self._results / "out"
        # A guest's user is another one.
        await self._placement.do(operations.make_outbox, out)
        if self._cache is None:
            return await self._make(out, stop)
        try:
            if await stop.unless(self._cache.restore(out)):
                return Realised(Outcome.PASSED, str(out), cached=True)
        except (InfrastructureError, OSError) as error:
            self._say(self._id, f"pikaci: {error}")
            await self._placement.do(operations.remove, out)
            await self._placement.do(operations.make_outbox, out)
        done = await self._make(out, stop)
        if done.ok:
            try:
                await self._cache.publish(out, self._run.run_id)
            except (InfrastructureError, OSError) as error:
                self._say(self._id, f"pikaci: {error}")
        return done

    async def _make(self, out: Path, stop: Stop) -> Realised:
        make_private(self._log.parent)
        shell = ShellCommand(
            placement=self._placement,
            confinement=await self._placement.confinement(),
            command=self._text(out),
            env={"PATH": self._placement.job_path},
            snapshot=self._snapshot,
            scratch=self._scratch,
            log=self._log,
        )
        try:
            await shell.prepare()
            await shell.launch()
            is_over = asyncio.Event()
            carrying = asyncio.ensure_future(self._carry_log(is_over))
            try:
                finish = await shell.wait(self._spec.timeout_secs, stop)
            finally:
                is_over.set()
                await carrying
        finally:
            await shell.close()
            await self._placement.do(operations.remove, self._scratch)
        if finish.stopped:
            return CANCELLED
        if finish.timed_out:
            message = (
                f"prepare {self._id} timed out after {self._spec.timeout_secs} s (`timeoutSecs`)"
            )
            return failed(FailureKind.TIMEOUT, CauseCode.HOST_COMMAND_TIMED_OUT, message)
        missing = await self._placement.do(operations.read, self._missing, NAME_BYTES)
        if missing is not None:
            message = f"prepare {self._id} ended without leaving {os.fsdecode(missing)}"
            hint = f"its outputs are {', '.join(self._spec.outputs)}, relative to the workspace"
            return failed(FailureKind.TEST_FAILURE, CauseCode.OUTPUT_MISSING, message, hint)
        if finish.exit_code != 0:
            message = f"prepare {self._id} {in_words(finish.exit_code, finish.signal)}"
            hint = "its output is in the host log"
            return failed(FailureKind.TEST_FAILURE, CauseCode.HOST_COMMAND_FAILED, message, hint)
        return Realised(Outcome.PASSED, str(out))

    def _text(self, out: Path) -> str:
        """The command in a shell of its own, then its outputs copied while they can be seen.

        The workspace may be an overlay that exists only in the command's own mount namespace.
        """
        lines = [f"bash --noprofile --norc -c {shlex.quote(self._spec.command)} || exit"]
        for output in self._spec.outputs:
            name, target = shlex.quote(output), shlex.quote(str(out / output))
            missing = shlex.quote(str(self._missing))
            lines.append(f"if [ ! -e {name} ]; then printf %s {name} > {missing}; exit 1; fi")
            lines.append(f"mkdir -p {shlex.quote(str((out / output).parent))} || exit")
            lines.append(f"cp -a -- {name} {target} || exit")
        return "\n".join(lines)

    async def _carry_log(self, is_over: asyncio.Event) -> None:
        """Carry what the command prints into the jobs' logs until it is over."""
        offset, lines = 0, LineSplitter()
        while True:
            is_last = is_over.is_set()
            chunk = read_log(self._log, offset, CHUNK_BYTES)
            offset = chunk.next_offset
            self._say_lines(lines.feed(chunk.data))
            if len(chunk.data) == CHUNK_BYTES:
                await asyncio.sleep(0)
            elif is_last:
                self._say_lines(lines.end())
                return
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(is_over.wait(), TAIL_SECS)

    def _say_lines(self, lines: list[bytes]) -> None:
        for line in lines:
            self._say(self._id, line.decode("utf-8", "surrogateescape"))
