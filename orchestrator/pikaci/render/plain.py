"""One line for each event, for logs and pipes; with `-L` also what builders and jobs print.

Every 30 s a line names what runs and for how long: CI servers end jobs that print nothing.
"""

from __future__ import annotations

import time
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
from pikaci.render.feed import Out, View
from pikaci.render.tail import Tails
from pikaci.screen import has_colours, one_line, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jerichoci.record.record import JobRecord
    from jerichoci.state.layout import StateLayout

STILL_RUNNING_SECS = 30.0
"""Between two lines that name what runs."""
NAMED = 8
"""How many running things such a line names."""


class Plain(View):
    """Writes lines."""

    def __init__(self, state: StateLayout, out: Out, *, print_logs: bool) -> None:
        self._state = state
        self._out = out
        self._tails = Tails(self._show) if print_logs else None
        self._colours = has_colours(out)
        self._run_id = ""
        self._tellers: dict[str, str] = {}
        """A job that needs a prepare, by the prepare's id."""
        self._waiting: dict[str, float] = {}
        """Since when jobs wait to be started."""
        self._running: dict[str, float] = {}
        """Since when jobs and prepares run."""
        self._named = time.monotonic()

    def emit(self, event: EventBase) -> None:
        """Print an event."""
        match event:
            case RunStarted(run=run):
                self._run_id = run.run_id
                self._waiting = {f"job {job.id}": time.monotonic() for job in run.jobs}
                tree = (run.snapshot_id or "")[:12]
                self._say(f"{words.run_start(run)}: {run.target_id}, snapshot {tree}")
            case PrepareStarted(node_id=node_id, needed_by=jobs):
                self._say(f"prepare {node_id} ...")
                self._running[f"prepare {node_id}"] = time.monotonic()
                self._begin_prepare(node_id, jobs)
            case PrepareFinished():
                self._end_prepare(event)
            case JobStarted(job_id=job_id, attempt=attempt):
                again = f" (attempt {attempt})" if attempt > 1 else ""
                self._say(f"job {job_id} started{again}")
                self._waiting.pop(f"job {job_id}", None)
                self._running[f"job {job_id}"] = time.monotonic()
                if self._tails:
                    self._tails.follow(job_id, self._logs(job_id, attempt))
            case JobFinished(job=job):
                self._end_job(job)
            case RunFinished(run=run):
                self._waiting.clear()
                self._running.clear()
                for line in words.run_end(self._state, run):
                    self._say(line)

    def _begin_prepare(self, node_id: str, jobs: Sequence[str]) -> None:
        for job_id in jobs[:1]:
            self._tellers[node_id] = job_id
            if self._tails:
                self._tails.follow_prepare(node_id, job_id, self._logs(job_id, 1))

    def _end_prepare(self, event: PrepareFinished) -> None:
        if self._tails:
            self._tails.end_prepare(event.node_id)
        self._running.pop(f"prepare {event.node_id}", None)
        took = words.duration(event.duration_ms)
        how = "cached" if event.cached else f"{event.outcome} in {took}"
        why = f": {event.cause.message}" if event.cause else ""
        self._say(f"prepare {event.node_id} {how}{why}")
        teller = self._tellers.get(event.node_id)
        if teller and not self._tails:
            for line in words.prepare_tail(self._logs(teller, 1), event):
                self._show(event.node_id, line)

    def _end_job(self, job: JobRecord) -> None:
        if self._tails:
            self._tails.end(job.id)
        for names in (self._waiting, self._running):
            names.pop(f"job {job.id}", None)
        took = words.between(job.started_at, job.finished_at)
        self._say(f"job {job.id} {words.job_end(job)}" + (f" in {took}" if took else ""))
        if not self._tails:
            for line in words.failure_tail(self._state, self._run_id, job):
                self._show(job.id, line)

    def stopping(self) -> None:
        """Print that the run is being stopped."""
        self._say(words.STOPPING)

    def tick(self) -> None:
        """Print new output of jobs, and every 30 s what runs."""
        if self._tails:
            self._tails.poll()
        now = time.monotonic()
        if now - self._named < STILL_RUNNING_SECS:
            return
        self._named = now
        if self._running:
            self._say(f"still running: {_listed(self._running, now)}")
        elif self._waiting:
            self._say(f"waiting to start: {_listed(self._waiting, now)}")

    def _logs(self, job_id: str, attempt: int) -> Path:
        return self._state.run(self._run_id).attempt(job_id, attempt)

    def _say(self, text: str) -> None:
        self._out.write(f"pikaci: {one_line(text)}\n")

    def _show(self, speaker: str, line: str) -> None:
        self._out.write(f"{speaker}> {shown(line, colours=self._colours)}\n")


def _listed(since: Mapping[str, float], now: float) -> str:
    """What has been running for how long; the first of many."""
    names = [
        f"{name} ({words.duration(round(now - began) * 1000)})"
        for name, began in list(since.items())[:NAMED]
    ]
    more = [f"{len(since) - NAMED} more"] if len(since) > NAMED else []
    return ", ".join(names + more)
