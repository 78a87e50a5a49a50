"""A line an event, for logs and pipes; with `-L` everything that builders and jobs print too."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from jerichoci.event import (
    JobFinished,
    JobStarted,
    PrepareFinished,
    PrepareStarted,
    RunFinished,
    RunStarted,
)
from pikaci.render.tail import Tails
from pikaci.render.words import (
    HOST,
    STOPPING,
    between,
    duration,
    failure_tail,
    job_end,
    run_end,
    run_start,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.event import EventBase
    from jerichoci.layout import StateLayout
    from jerichoci.record import JobRecord
    from pikaci.render.out import Out


class Plain:
    """Writes lines."""

    def __init__(self, state: StateLayout, out: Out, *, print_logs: bool) -> None:
        self._state = state
        self._out = out
        self._tails = Tails(self._show) if print_logs else None
        self._run_id = ""

    def emit(self, event: EventBase) -> None:
        """Say what an event says."""
        match event:
            case RunStarted(run=run):
                self._run_id = run.run_id
                self._say(
                    f"{run_start(run)}: {run.target_id}, snapshot {(run.snapshot_id or '')[:12]}"
                )
            case PrepareStarted(node_id=node_id):
                self._say(f"prepare {node_id} ...")
            case PrepareFinished(node_id=node_id, cached=cached, duration_ms=took, cause=cause):
                how = "cached" if cached else f"{event.outcome} in {duration(took)}"
                self._say(f"prepare {node_id} {how}" + (f": {cause.message}" if cause else ""))
            case JobStarted(job_id=job_id, attempt=attempt):
                again = f" (attempt {attempt})" if attempt > 1 else ""
                self._say(f"job {job_id} started{again}")
                self._follow(job_id, attempt)
            case JobFinished(job=job):
                self._end_job(job)
            case RunFinished(run=run):
                for line in run_end(self._state, run):
                    self._say(line)

    def _end_job(self, job: JobRecord) -> None:
        if self._tails:
            self._tails.drain(job.id)
        took = between(job.started_at, job.finished_at)
        self._say(f"job {job.id} {job_end(job)}" + (f" in {took}" if took else ""))
        if not self._tails:
            for line in failure_tail(self._state, self._run_id, job):
                self._show(job.id, line)

    def stopping(self) -> None:
        """Say that the run was told to end."""
        self._say(STOPPING)

    def tick(self) -> None:
        """Show what jobs have printed."""
        if self._tails:
            self._tails.poll()

    def _follow(self, job_id: str, attempt: int) -> None:
        if self._tails:
            directory = self._state.run(self._run_id).attempt(job_id, attempt)
            self._tails.follow(job_id, [directory / "host.log", directory / "guest.log"])

    def _say(self, text: str) -> None:
        self._out.write(f"pikaci: {text}\n")

    def _show(self, job_id: str, line: str) -> None:
        if not line.startswith(HOST):  # else told as events already
            self._out.write(f"{job_id}> {line}\n")


@contextmanager
def plain(state: StateLayout, out: Out, *, print_logs: bool) -> Iterator[Plain]:
    """The plain renderer."""
    yield Plain(state, out, print_logs=print_logs)
