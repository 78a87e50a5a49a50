"""Live progress on a terminal: what is being prepared and run, how long, and its last output."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from rich.ansi import AnsiDecoder
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from jerichoci.record.event import (
    EventBase,
    JobFinished,
    JobPhase,
    JobStarted,
    PrepareFinished,
    PrepareStarted,
    RunFinished,
    RunStarted,
)
from jerichoci.state.log_file import last_lines
from jerichoci.status import Outcome, PhaseName, Status
from pikaci.render import words
from pikaci.render.feed import Out, View
from pikaci.render.tail import HOST
from pikaci.screen import has_colours, one_line, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from jerichoci.record.record import JobRecord, RunRecord
    from jerichoci.state.layout import StateLayout

REFRESH_PER_SECOND = 8
RUNNING = "running"
LAST_WORD_WINDOW = 4096
"""Bytes of a log to look through for its last line."""
STYLES = {
    "passed": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "skipped": "yellow",
}
MARKS = {"passed": "✔", "failed": "✘", "cancelled": "■", "skipped": "-"}


@dataclass
class Line:
    """A job or prepare that runs."""

    what: str
    name: str
    since: float
    phase: str = ""
    logs: Path | None = None
    """The directory of the logs that have what it prints."""


class Terminal(View):
    """Prints what has finished, and below it what is running."""

    def __init__(self, state: StateLayout, console: Console) -> None:
        self._state = state
        self._console = console
        self._run_id = ""
        self._lines: dict[str, Line] = {}
        self._spinner = Spinner("dots")
        self._has_colours = has_colours(console.file)
        self._colours = AnsiDecoder()

    def __rich__(self) -> Group:
        """What is running, as rich draws it."""
        grid = Table.grid(padding=(0, 1))
        for line in list(self._lines.values()):
            took = words.duration(round((time.monotonic() - line.since) * 1000))
            grid.add_row(self._spinner, line.what, Text(line.name, style="bold"), line.phase, took)
        return Group(grid, *self._last_words())

    def _last_words(self) -> Iterator[Text]:
        for line in list(self._lines.values()):
            if said := self._last_word(line):
                text = f"  {line.name}> {said}"
                yield Text(text, style="dim", overflow="ellipsis", no_wrap=True)

    def _last_word(self, line: Line) -> str | None:
        if not line.logs:
            return None
        prefix = "" if line.what == RUNNING else f"{line.name}> "
        for name in ("guest.log", "host.log") if line.what == RUNNING else ("host.log",):
            for text in reversed(last_lines(line.logs / name, LAST_WORD_WINDOW, LAST_WORD_WINDOW)):
                said = shown(text.removeprefix(prefix))
                if text.startswith(prefix) and not text.startswith(HOST) and said:
                    return said
        return None

    def live(self) -> Live:
        """The display of what is running, which refreshes itself."""
        return Live(
            self,
            console=self._console,
            refresh_per_second=REFRESH_PER_SECOND,
            transient=True,
            # A redirected stream would wait for a terminal that is stopped.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def emit(self, event: EventBase) -> None:
        """Show what an event changes."""
        match event:
            case RunStarted(run=run):
                self._begin(run)
            case PrepareStarted(node_id=node_id, needed_by=jobs):
                logs = self._logs(jobs[0], 1) if jobs else None
                self._lines[node_id] = Line("preparing", node_id, time.monotonic(), logs=logs)
            case PrepareFinished(node_id=node_id):
                self._prepared(event, self._lines.pop(node_id, None))
            case JobStarted(job_id=job_id, attempt=attempt):
                logs = self._logs(job_id, attempt)
                self._lines[f"job {job_id}"] = Line(RUNNING, job_id, time.monotonic(), logs=logs)
            case JobPhase(job_id=job_id, phase=phase, outcome=outcome):
                line = self._lines.get(f"job {job_id}")
                if line and outcome is Outcome.STARTED:
                    waits = phase is PhaseName.WAIT_FOR_COMPLETION
                    line.phase = "" if waits else phase.replace("_", " ")
            case JobFinished(job=job):
                self._end_job(job)
            case RunFinished(run=run):
                self._end(run)

    def _begin(self, run: RunRecord) -> None:
        self._run_id = run.run_id
        self._console.print(
            Text.assemble((run.target_id, "bold"), f"  {one_line(run.target_description)}")
        )
        self._console.print(Text(words.run_start(run), style="dim"))

    def _end_job(self, job: JobRecord) -> None:
        self._lines.pop(f"job {job.id}", None)
        took = words.between(job.started_at, job.finished_at)
        self._done(job.status, f"job {job.id} {words.job_end(job)}", took)
        self._show(job.id, words.failure_tail(self._state, self._run_id, job))

    def stopping(self) -> None:
        """Print that the run is being stopped."""
        self._console.print(Text(words.STOPPING, style="yellow"))

    def _end(self, run: RunRecord) -> None:
        self._lines.clear()
        for index, said in enumerate(words.run_end(self._state, run)):
            style = "dim" if index else STYLES[run.status]
            self._console.print(Text(one_line(said), style=style), soft_wrap=True)

    def _prepared(self, event: PrepareFinished, line: Line | None) -> None:
        why = f": {event.cause.message}" if event.cause else ""
        how = "cached" if event.cached else str(event.outcome)
        took = "" if event.cached else words.duration(event.duration_ms)
        self._done(event.outcome, f"prepare {event.node_id} {how}{why}", took)
        if line and line.logs:
            self._show(event.node_id, words.prepare_tail(line.logs, event))

    def _logs(self, job_id: str, attempt: int) -> Path:
        return self._state.run(self._run_id).attempt(job_id, attempt)

    def _show(self, speaker: str, lines: Iterable[str]) -> None:
        for line in lines:
            text = self._colours.decode_line(shown(line, colours=self._has_colours))
            self._console.print(Text.assemble(f"  {speaker}> ", text), soft_wrap=True)

    def _done(self, status: Status | Outcome, text: str, took: str) -> None:
        mark = Text(f"{MARKS[status]} ", style=STYLES[status])
        self._console.print(
            Text.assemble(mark, one_line(text), (f"  {took}", "dim")), soft_wrap=True
        )


def terminal(state: StateLayout, out: Out) -> Terminal:
    """A view of a run on a terminal; rich honours NO_COLOR."""
    return Terminal(state, Console(file=cast("IO[str]", out), highlight=False))
