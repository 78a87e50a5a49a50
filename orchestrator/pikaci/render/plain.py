"""A line an event, for logs and pipes; with `-L` everything that builders and jobs print too."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from jerichoci.record.event import (
    JobFinished,
    JobStarted,
    PrepareFinished,
    PrepareStarted,
    RunFinished,
    RunStarted,
)
from pikaci.render.tail import Tails
from pikaci.render.words import (
    STOPPING,
    between,
    duration,
    failure_tail,
    job_end,
    prepare_tail,
    run_end,
    run_start,
)
from pikaci.screen import has_colours, one_line, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jerichoci.record.event import EventBase
    from jerichoci.record.record import JobRecord
    from jerichoci.state.layout import StateLayout
    from pikaci.render.out import Out


class Plain:
    """Writes lines."""

    def __init__(self, state: StateLayout, out: Out, *, print_logs: bool) -> None:
        self._state = state
        self._out = out
        self._tails = Tails(self._show) if print_logs else None
        self._colours = has_colours(out)
        self._run_id = ""
        self._tellers: dict[str, str] = {}
        """A job that needs a prepare, by the prepare's id."""

    def emit(self, event: EventBase) -> None:
        """Say what an event says."""
        match event:
            case RunStarted(run=run):
                self._run_id = run.run_id
                self._say(
                    f"{run_start(run)}: {run.target_id}, snapshot {(run.snapshot_id or '')[:12]}"
                )
            case PrepareStarted(node_id=node_id, needed_by=jobs):
                self._say(f"prepare {node_id} ...")
                self._begin_prepare(node_id, jobs)
            case PrepareFinished():
                self._end_prepare(event)
            case JobStarted(job_id=job_id, attempt=attempt):
                again = f" (attempt {attempt})" if attempt > 1 else ""
                self._say(f"job {job_id} started{again}")
                if self._tails:
                    self._tails.follow(job_id, self._logs(job_id, attempt))
            case JobFinished(job=job):
                self._end_job(job)
            case RunFinished(run=run):
                for line in run_end(self._state, run):
                    self._say(line)

    def _begin_prepare(self, node_id: str, jobs: Sequence[str]) -> None:
        for job_id in jobs[:1]:
            self._tellers[node_id] = job_id
            if self._tails:
                self._tails.follow_prepare(node_id, job_id, self._logs(job_id, 1))

    def _end_prepare(self, event: PrepareFinished) -> None:
        if self._tails:
            self._tails.end_prepare(event.node_id)
        how = "cached" if event.cached else f"{event.outcome} in {duration(event.duration_ms)}"
        why = f": {event.cause.message}" if event.cause else ""
        self._say(f"prepare {event.node_id} {how}{why}")
        teller = self._tellers.get(event.node_id)
        if teller and not self._tails:
            for line in prepare_tail(self._logs(teller, 1), event):
                self._show(event.node_id, line)

    def _end_job(self, job: JobRecord) -> None:
        if self._tails:
            self._tails.end(job.id)
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

    def _logs(self, job_id: str, attempt: int) -> Path:
        return self._state.run(self._run_id).attempt(job_id, attempt)

    def _say(self, text: str) -> None:
        self._out.write(f"pikaci: {one_line(text)}\n")

    def _show(self, speaker: str, line: str) -> None:
        self._out.write(f"{speaker}> {shown(line, colours=self._colours)}\n")


@contextmanager
def plain(state: StateLayout, out: Out, *, print_logs: bool) -> Iterator[Plain]:
    """The plain renderer."""
    yield Plain(state, out, print_logs=print_logs)
