"""One line for each event, for logs and pipes; with `-L` also what builders and jobs print.

Every 30 s a line names what runs and for how long: CI servers end jobs that print nothing.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jerichoci.record.event import (
    EventBase,
    JobFinished,
    JobStarted,
    PrepareFinished,
    PrepareStarted,
    RunFinished,
    RunStarted,
)
from pikaci.render import words
from pikaci.render.eta import Eta
from pikaci.render.feed import Out, View
from pikaci.render.follow import Printed
from pikaci.render.progress import PREPARING, Progress
from pikaci.render.summary import batch_end
from pikaci.screen import has_colours, one_line, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jerichoci.record.record import JobRecord
    from jerichoci.state.layout import StateLayout
    from pikaci.render.progress import Line

STILL_RUNNING_SECS = 30.0
"""Between two lines that name what runs."""
NAMED = 8
"""How many running things such a line names."""


class Plain(View):
    """Writes lines."""

    def __init__(
        self,
        state: StateLayout,
        out: Out,
        *,
        print_logs: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._out = out
        self._progress = Progress(state, clock)
        self._eta = Eta(state, self._progress)
        self._printed = Printed(self._progress, self._show) if print_logs else None
        self._colours = has_colours(out)
        self._named = clock()

    def emit(self, event: EventBase) -> None:
        """Print an event."""
        if title := self._progress.title_before(event):
            self._say(title)
        line = self._progress.note(event)
        match event:
            case RunStarted(run=run):
                tree = (run.snapshot_id or "")[:12]
                self._say(f"{words.run_start(run)}: {run.target_id}, snapshot {tree}")
            case PrepareStarted():
                self._begin_prepare(event, line)
            case PrepareFinished() if line:
                self._end_prepare(event, line)
            case JobStarted(attempt=attempt) if line:
                self._begin_job(line, attempt)
            case JobFinished(job=job):
                self._end_job(event.run_id, job)
            case RunFinished(run=run) if run.batch:
                self._say(f"target {run.target_id} {words.run_status(run)}")
            case RunFinished(run=run):
                for text in words.run_end(self._state, run):
                    self._say(text)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Print the summary of a batch when the last event has been shown."""
        yield
        if self._progress.is_batch:
            for _, text in batch_end(self._state, list(self._progress.runs.values())):
                self._say(text)

    def _begin_prepare(self, event: PrepareStarted, line: Line | None) -> None:
        if line:
            self._say(f"prepare {line.name} ...")
        if self._printed:
            self._printed.begin_prepare(event, line)

    def _end_prepare(self, event: PrepareFinished, line: Line) -> None:
        if self._printed:
            self._printed.end_prepare(line)
        took = words.duration(event.duration_ms)
        how = "cached" if event.cached else f"{event.outcome} in {took}"
        why = words.prepare_end(line.speaker, event)
        self._say(f"prepare {line.name} {how}{why}")
        if line.logs and not self._printed:
            for text in words.prepare_tail(line.logs, event, line.speaker):
                self._show(line.name, text)

    def _begin_job(self, line: Line, attempt: int) -> None:
        again = f" (attempt {attempt})" if attempt > 1 else ""
        self._say(f"job {line.name} started{again}")
        if self._printed:
            self._printed.begin_job(line)

    def _end_job(self, run_id: str, job: JobRecord) -> None:
        if self._printed:
            self._printed.end_job(run_id, job.id)
        self._say(self._job_ended(run_id, job))
        if not self._printed:
            name = self._progress.job_name(run_id, job.id)
            for line in words.failure_tail(self._state, run_id, job):
                self._show(name, line)

    def _job_ended(self, run_id: str, job: JobRecord) -> str:
        name, took = self._progress.job_name(run_id, job.id), words.job_took(job)
        counted = "" if words.is_left_out(job) else f" ({self._progress.counted})"
        return f"job {name} {words.job_end(job, briefly=True)}{took and f' in {took}'}{counted}"

    def stopping(self) -> None:
        """Print that the runs are being stopped."""
        self._say(words.STOPPING)

    def tick(self) -> None:
        """Print new output of jobs, and every 30 s what runs."""
        if self._printed:
            self._printed.poll()
        now = self._progress.clock()
        if now - self._named < STILL_RUNNING_SECS:
            return
        self._named = now
        progress = self._progress
        if lines := progress.in_order():
            self._say(f"still running: {_listed(map(_described, lines), now)}; {self._far()}")
        elif waiting := progress.waiting_since:
            names = {f"job {progress.job_name(*key)}": since for key, since in waiting.items()}
            self._say(f"waiting to start: {_listed(names.items(), now)}; {self._far()}")

    def _far(self) -> str:
        """How far it has come."""
        said = [self._progress.nix, f"{self._progress.counted} jobs done", self._eta.text]
        return ", ".join(filter(None, said))

    def _say(self, text: str) -> None:
        self._out.write(f"pikaci: {one_line(text)}\n")

    def _show(self, speaker: str, line: str) -> None:
        self._out.write(f"{speaker}> {shown(line, colours=self._colours)}\n")


def _described(line: Line) -> tuple[str, float]:
    what = "prepare" if line.what == PREPARING else "job"
    return f"{what} {line.name}", line.since


def _listed(since: Iterable[tuple[str, float]], now: float) -> str:
    """What has been running for how long; the first of many."""
    names = [f"{name} ({words.duration(round(now - began) * 1000)})" for name, began in since]
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return ", ".join(names[:NAMED] + more)
