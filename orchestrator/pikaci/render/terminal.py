"""Live progress on a terminal: what is being prepared and run, how long, and its last output."""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.live import Live
from rich.text import Text

from jerichoci.record.event import (
    EventBase,
    JobFinished,
    PrepareFinished,
    RunFinished,
    RunStarted,
)
from pikaci.render import words
from pikaci.render.feed import Out, View
from pikaci.render.live import STYLES, Running
from pikaci.render.progress import Progress
from pikaci.render.summary import batch_end
from pikaci.screen import has_colours, one_line, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jerichoci.record.record import JobRecord, RunRecord
    from jerichoci.state.layout import StateLayout
    from jerichoci.status import Outcome, Status
    from pikaci.render.progress import Line

MARKS = {"passed": "✔", "failed": "✘", "cancelled": "■", "skipped": "-"}


class Terminal(View):
    """Prints what has finished, and below it what is running."""

    def __init__(self, state: StateLayout, console: Console) -> None:
        self._state = state
        self._console = console
        self._progress = Progress(state)
        self._running = Running(state, self._progress)
        self._live: Live | None = None
        self._has_colours = has_colours(console.file)
        self._colours = AnsiDecoder()

    @contextmanager
    def live(self) -> Iterator[None]:
        """Display what is running, and in the end the summary of a batch."""
        with Live(
            self._running,
            console=self._console,
            # A thread of rich's would draw between two lines, and erase one of them.
            auto_refresh=False,
            transient=True,
            # A redirected stream would wait for a terminal that is stopped.
            redirect_stdout=False,
            redirect_stderr=False,
        ) as self._live:
            yield
        if self._progress.is_batch:
            for status, said in batch_end(self._state, list(self._progress.runs.values())):
                self._say(said, STYLES[status] if status else "dim")

    def emit(self, event: EventBase) -> None:
        """Show what an event changes."""
        if title := self._progress.title_before(event):
            self._console.print(Text(title, style="bold"), soft_wrap=True)
        line = self._progress.note(event)
        match event:
            case RunStarted(run=run) if not run.batch:
                self._begin(run)
            case PrepareFinished() if line:
                self._prepared(event, line)
            case JobFinished(run_id=run_id, job=job):
                self._end_job(run_id, job)
            case RunFinished(run=run) if not run.batch:
                for index, said in enumerate(words.run_end(self._state, run)):
                    self._say(said, "dim" if index else STYLES[run.status])

    def tick(self) -> None:
        """Draw what is running again."""
        if self._live:
            self._live.refresh()

    def stopping(self) -> None:
        """Print that the run is being stopped."""
        self._console.print(Text(words.STOPPING, style="yellow"))

    def _begin(self, run: RunRecord) -> None:
        title = f"  {one_line(run.target_description)}"
        self._console.print(Text.assemble((run.target_id, "bold"), title))
        self._console.print(Text(words.run_start(run), style="dim"))

    def _end_job(self, run_id: str, job: JobRecord) -> None:
        name = self._progress.job_name(run_id, job.id)
        took = words.job_took(job)
        self._done(job.status, f"job {name} {words.job_end(job, briefly=True)}", took)
        self._show(name, words.failure_tail(self._state, run_id, job))

    def _prepared(self, event: PrepareFinished, line: Line) -> None:
        why = words.prepare_end(line.speaker, event)
        how = "cached" if event.cached else str(event.outcome)
        took = "" if event.cached else words.duration(event.duration_ms)
        self._done(event.outcome, f"prepare {line.name} {how}{why}", took)
        if line.logs:
            self._show(line.name, words.prepare_tail(line.logs, event, line.speaker))

    def _show(self, speaker: str, lines: Iterable[str]) -> None:
        for line in lines:
            text = self._colours.decode_line(shown(line, colours=self._has_colours))
            self._console.print(Text.assemble(f"  {speaker}> ", text), soft_wrap=True)

    def _say(self, text: str, style: str) -> None:
        self._console.print(Text(one_line(text), style=style), soft_wrap=True)

    def _done(self, status: Status | Outcome, text: str, took: str) -> None:
        mark = Text(f"{MARKS[status]} ", style=STYLES[status])
        self._console.print(
            Text.assemble(mark, one_line(text), (f"  {took}", "dim")), soft_wrap=True
        )


def terminal(state: StateLayout, out: Out) -> Terminal:
    """A view of runs on a terminal, or on what was said to be one; rich honours NO_COLOR."""
    file = cast("IO[str]", out)
    return Terminal(state, Console(file=file, highlight=False, force_terminal=True))
