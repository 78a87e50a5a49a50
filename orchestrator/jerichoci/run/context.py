"""What the nodes of one run share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jerichoci.run.host_log import HostLogs

if TYPE_CHECKING:
    from jerichoci.machine.stop import Stop
    from jerichoci.plan.plan import Plan
    from jerichoci.record.record import JobRecord
    from jerichoci.record.request import RunRequest
    from jerichoci.record.rundir import RunWriter
    from jerichoci.run.fleet import Fleet
    from jerichoci.runtime import Runtime
    from jerichoci.state.layout import StateLayout


@dataclass
class RunContext:
    """A run in progress."""

    state: StateLayout
    request: RunRequest
    writer: RunWriter
    fleet: Fleet
    stop: Stop
    jobs: dict[str, asyncio.Task[JobRecord]] = field(default_factory=dict)
    """The task of each job, by the id of its node."""
    running: set[str] = field(default_factory=set)
    """The jobs that have an attempt under way."""
    finished_runtimes: list[Runtime] = field(default_factory=list)
    """Of attempts that are over; what they made may still be on its way out."""

    def __post_init__(self) -> None:
        self.selected = self.request.selected()
        self.logs = HostLogs(self.writer.layout)
        self.free_places = asyncio.Semaphore(self.request.max_jobs or max(1, len(self.plan.jobs)))

    @property
    def plan(self) -> Plan:
        """What is run."""
        return self.request.plan

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.writer.layout.run_id
