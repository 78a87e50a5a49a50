"""What the nodes of one run share, and the host logs of its jobs."""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import RunLayout, StateLayout, make_private

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping

    from jerichoci.machine.stop import Stop
    from jerichoci.nix.realised import Activity
    from jerichoci.plan.plan import Plan
    from jerichoci.record.record import JobRecord
    from jerichoci.record.rundir import RunWriter
    from jerichoci.run.copies import Copies
    from jerichoci.run.fleet import Fleet
    from jerichoci.run.request import RunRequest
    from jerichoci.run.shared_builds import SharedBuilds
    from jerichoci.runtime import Runtime


@dataclass
class RunContext:
    """A run in progress."""

    state: StateLayout
    request: RunRequest
    writer: RunWriter
    fleet: Fleet
    stop: Stop
    free_places: asyncio.Semaphore
    """For attempts, of this run and of those beside it."""
    builds: SharedBuilds | None = None
    """Of this machine, if other runs of this process share them."""
    copies: Copies | None = None
    """Where the prepared outputs are copied to, if they are."""
    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict, repr=False)
    """Of the jobs that have some, by node and name."""
    jobs: dict[str, asyncio.Task[JobRecord]] = field(default_factory=dict)
    """The task of each job, by the id of its node."""
    running: set[str] = field(default_factory=set)
    nix_activity: dict[str, Activity] = field(default_factory=dict)
    """What Nix does for the run, by host."""
    """The jobs that have an attempt under way."""
    finished_runtimes: list[Runtime] = field(default_factory=list)
    """Of attempts that are over; what they made may still be on its way out."""

    def __post_init__(self) -> None:
        self.selected = self.request.selected()
        self.logs = HostLogs(self.writer.layout)

    @property
    def plan(self) -> Plan:
        return self.request.plan

    @property
    def run_id(self) -> str:
        return self.writer.layout.run_id


class HostLogs:
    """host.log of each job of a run; none is kept open: jobs may outnumber descriptors."""

    def __init__(self, run: RunLayout) -> None:
        self._run = run
        self._logs: dict[str, str] = {}

    def begin(self, job_id: str, attempt: int) -> None:
        """Let what is said for a job go to this attempt's log from now on."""
        self._logs[job_id] = str(self._run.attempt(job_id, attempt) / "host.log")

    def say(self, job_ids: Iterable[str], speaker: str, text: str) -> None:
        """Append `text`, each line after the speaker's name, below a last line without an end."""
        lines = "".join(f"{speaker}> {line}\n" for line in text.removesuffix("\n").split("\n"))
        data = lines.encode("utf-8", "surrogateescape")
        for job_id in job_ids:
            if job_id not in self._logs:
                self.begin(job_id, 1)
            fd = self._open(self._logs[job_id])
            try:
                end = os.fstat(fd).st_size
                is_cut = end and os.pread(fd, 1, end - 1) != b"\n"
                os.write(fd, b"\n" + data if is_cut else data)
            finally:
                os.close(fd)

    def _open(self, log: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(log, flags, 0o600)
        except FileNotFoundError:
            self._run.events.stat()  # else the run's directory was removed, and is not made again
            make_private(Path(log).parent)
            return os.open(log, flags, 0o600)
