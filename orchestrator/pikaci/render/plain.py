"""A line an event, for logs and pipes; with `-L` everything that builders and jobs print too."""

from __future__ import annotations

import sys
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
    from pikaci.render.tail import Tails


class Plain:
    """Writes to stderr."""

    def __init__(self, state: StateLayout, tails: Tails | None) -> None:
        self._state = state
        self._tails = tails
        self._run_id = ""

    def emit(self, event: EventBase) -> None:
        """Say what an event says."""
        match event:
            case RunStarted(run=run):
                self._run_id = run.run_id
                _say(f"{run_start(run)}: {run.target_id}, snapshot {(run.snapshot_id or '')[:12]}")
            case PrepareStarted(node_id=node_id):
                _say(f"prepare {node_id} ...")
            case PrepareFinished(node_id=node_id, cached=cached, duration_ms=took, cause=cause):
                how = "cached" if cached else f"{event.outcome} in {duration(took)}"
                _say(f"prepare {node_id} {how}" + (f": {cause.message}" if cause else ""))
            case JobStarted(job_id=job_id, attempt=attempt):
                again = f" (attempt {attempt})" if attempt > 1 else ""
                _say(f"job {job_id} started{again}")
                self._follow(job_id, attempt)
            case JobFinished(job=job):
                self._end_job(job)
            case RunFinished(run=run):
                for line in run_end(self._state, run):
                    _say(line)

    def _end_job(self, job: JobRecord) -> None:
        if self._tails:
            self._tails.drain(job.id)
        took = between(job.started_at, job.finished_at)
        _say(f"job {job.id} {job_end(job)}" + (f" in {took}" if took else ""))
        if not self._tails:
            for line in failure_tail(self._state, self._run_id, job):
                _show(job.id, line)

    def stopping(self) -> None:
        """Say that the run was told to end."""
        _say(STOPPING)

    def _follow(self, job_id: str, attempt: int) -> None:
        if self._tails:
            run = self._state.run(self._run_id)
            self._tails.follow(job_id, run.attempt(job_id, attempt) / "host.log")


@contextmanager
def plain(state: StateLayout, *, print_logs: bool) -> Iterator[Plain]:
    """The plain renderer."""
    if not print_logs:
        yield Plain(state, None)
        return
    from pikaci.render.tail import tailing

    with tailing(_show) as tails:
        yield Plain(state, tails)


def _say(text: str) -> None:
    sys.stderr.write(f"pikaci: {text}\n")
    sys.stderr.flush()


def _show(job_id: str, line: str) -> None:
    if line.startswith(HOST):
        # Told as events already.
        return
    sys.stderr.write(f"{job_id}> {line}\n")
