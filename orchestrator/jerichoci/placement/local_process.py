"""A program on this machine whose output goes to a log."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from typing import TYPE_CHECKING

from jerichoci.machine import process
from jerichoci.machine.control_groups import JobGroups, limited
from jerichoci.machine.ending import Ending, Report
from jerichoci.machine.pump import Pump, pumping
from jerichoci.machine.secret_files import giving

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from jerichoci.placement.program import Program


class LocalProcess:
    """A process group on this machine and the pump that takes what it prints."""

    def __init__(
        self,
        leader: asyncio.subprocess.Process,
        pump: Pump,
        report: Report,
        groups: JobGroups,
    ) -> None:
        self._leader = leader
        self._pump = pump
        self._report = report
        self._groups = groups

    async def wait(self) -> Ending:
        """Wait for the leader's end, and for its output to be in the log."""
        code = await self._leader.wait()
        # What the leader left in its group; a PID namespace has none left.
        self.kill()
        await self._pump.drain()
        ending = self._report.ending(code)
        return replace(
            ending,
            out_of_memory=self._groups.has_killed(),
            refused_processes=self._groups.has_refused(),
        )

    async def ended_within(self, secs: float) -> bool:
        """As it says itself: this process may have been stopped meanwhile."""
        return self._report.lived_within(secs)

    def terminate(self) -> None:
        # The first process of a namespace misses TERM until it has begun, and there is no job yet.
        number = signal.SIGTERM if self._report.has_started() else signal.SIGKILL
        process.signal_group(self._leader.pid, number)

    def kill(self) -> None:
        process.signal_group(self._leader.pid, signal.SIGKILL)


@asynccontextmanager
async def spawn(program: Program) -> AsyncIterator[LocalProcess]:
    """Start a program whose output goes to its log, never through this process."""
    secrets = program.secrets
    with closing(Report()) as report, giving(secrets) as (variables, descriptors):
        async with (
            pumping(program.log, [*secrets.values()]) as pump,
            limited(program.limits) as groups,
            process.child(
                groups.entering(program.argv),
                cwd=program.cwd,
                env={**program.env, **variables},
                stdin=report.file,
                stdout=pump.sink,
                stderr=pump.sink,
                pass_fds=descriptors,
            ) as leader,
        ):
            pump.hand_over()
            process.record_group(program.notes, leader.pid)
            running = LocalProcess(leader, pump, report, groups)
            try:
                yield running
            finally:
                running.kill()
