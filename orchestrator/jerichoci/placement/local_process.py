"""A program on this machine whose output goes to a log."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager, closing, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from jerichoci.machine import process
from jerichoci.machine.confined_job import ConfinedJob
from jerichoci.machine.control_groups import JobGroups, limited
from jerichoci.machine.ending import Ending, Report
from jerichoci.machine.pump import Pump, not_written, pumping
from jerichoci.machine.secret_files import giving

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from jerichoci.machine.starter import StartedJob, Starter
    from jerichoci.placement.program import Program, Running


class LocalJob:
    """A job on this machine, and what takes what it prints."""

    def __init__(
        self, job: StartedJob, pump: Pump | None, report: Report, groups: JobGroups
    ) -> None:
        self._job = job
        self._pump = pump
        self._report = report
        self._groups = groups

    async def wait(self) -> Ending:
        """Wait for its end, and for its output to be in the log."""
        end = await self._job.wait()
        if self._pump is not None:
            await self._pump.drain()
        if not end.is_whole:
            raise not_written()
        return replace(
            self._report.ending(end.status),
            out_of_memory=self._groups.has_killed(),
            refused_processes=self._groups.has_refused(),
        )

    async def ended_within(self, secs: float) -> bool:
        """As it says itself: this process may have been stopped meanwhile."""
        return self._report.lived_within(secs)

    def terminate(self) -> None:
        # The first process of a namespace misses TERM until it has begun, and there is no job yet.
        self._job.signal(signal.SIGTERM if self._report.has_started() else signal.SIGKILL)

    def kill(self) -> None:
        self._job.signal(signal.SIGKILL)


class LocalProcess:
    """A process group on this machine and the pump that takes what it prints."""

    def __init__(self, leader: asyncio.subprocess.Process, pump: Pump) -> None:
        self._leader = leader
        self._pump = pump

    async def wait(self) -> Ending:
        """Wait for the leader's end, and for its output to be in the log."""
        code = await self._leader.wait()
        self.kill()  # what the leader left in its group
        await self._pump.drain()
        return Ending.of(code)

    async def ended_within(self, secs: float) -> bool:
        """Not known: it reports nothing itself."""
        del secs
        return False

    def terminate(self) -> None:
        process.signal_group(self._leader.pid, signal.SIGTERM)

    def kill(self) -> None:
        process.signal_group(self._leader.pid, signal.SIGKILL)


@asynccontextmanager
async def spawn(program: Program, starter: Starter) -> AsyncIterator[Running]:
    """Start a program whose output goes to its log, never through this process."""
    if isinstance(program.argv, ConfinedJob):
        starting: AbstractAsyncContextManager[Running] = _job(program, program.argv, starter)
    else:
        starting = _process(program, program.argv)
    async with starting as running:
        try:
            yield running
        finally:
            running.kill()


@asynccontextmanager
async def _job(program: Program, job: ConfinedJob, starter: Starter) -> AsyncIterator[LocalJob]:
    secrets = program.secrets
    pumped = pumping(program.log, [*secrets.values()]) if secrets else nullcontext()
    with closing(Report()) as report, giving(secrets) as (variables, descriptors):
        async with pumped as pump, limited(program.limits) as groups:
            started = await starter.start(
                job.start(program.env, variables, groups.files),
                program.cwd,
                None if pump else program.log,
                [report.file.fileno(), *([pump.sink] if pump else []), *descriptors],
            )
            if pump is not None:
                pump.hand_over()
            process.record_group(program.notes, started.pid)
            yield LocalJob(started, pump, report, groups)


@asynccontextmanager
async def _process(program: Program, argv: Sequence[str]) -> AsyncIterator[LocalProcess]:
    async with (
        pumping(program.log) as pump,
        process.child(
            argv, cwd=program.cwd, env=program.env, stdout=pump.sink, stderr=pump.sink
        ) as leader,
    ):
        pump.hand_over()
        process.record_group(program.notes, leader.pid)
        yield LocalProcess(leader, pump)
