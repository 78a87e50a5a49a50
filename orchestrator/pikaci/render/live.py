"""The part of a terminal that is drawn again and again: what is running, and how much is done.

It is never higher than the terminal, and each row is one line, however narrow that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from jerichoci.state.log_file import last_lines
from pikaci.render import words
from pikaci.render.eta import Eta
from pikaci.render.progress import RUNNING, some
from pikaci.render.tail import HOST
from pikaci.screen import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType

    from jerichoci.state.layout import StateLayout
    from pikaci.render.progress import Line, Progress

LAST_WORD_WINDOW = 4096
"""Bytes of a log to look through for its last line."""
ROWS = 3
"""The least that are shown, in whatever window."""
STYLES = {
    "passed": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "skipped": "yellow",
    "running": "yellow",
}


class Running:
    """What is running, as rich draws it."""

    def __init__(self, state: StateLayout, progress: Progress) -> None:
        self._progress = progress
        self._eta = Eta(state, progress)
        self._spinner = Spinner("dots")

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Draw it."""
        lines = self._progress.in_order()
        if not lines and self._progress.is_over:
            return
        height = max(ROWS, console.size.height - 3)
        shown_lines = lines if len(lines) <= height else lines[: height - 1]
        yield self._table(shown_lines, options.max_width)
        if more := len(lines) - len(shown_lines):
            yield Text(f"  and {more} more", style="dim")
        if not lines and (waiting := list(self._progress.waiting_since)):
            names = some([self._progress.job_name(*key) for key in waiting])
            yield Text(f"waiting to start: {names}", overflow="ellipsis", no_wrap=True)
        if nix := self._progress.nix:
            yield Text(f"  {nix}", style="dim", overflow="ellipsis", no_wrap=True)
        words_shown = list(self._last_words(shown_lines))[: height - len(lines)] if not more else []
        yield Group(*words_shown)
        yield Text(self._status(), style="dim", overflow="ellipsis", no_wrap=True)

    def _table(self, lines: Sequence[Line], width: int) -> Table:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=width // 2, style="bold")
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(no_wrap=True, overflow="ellipsis")
        for line in lines:
            took = words.seconds(self._progress.clock() - line.since)
            grid.add_row(self._spinner, line.what, line.name, took, line.phase)
        return grid

    def _status(self) -> str:
        progress = self._progress
        failed = f"{progress.failed} failed" if progress.failed else ""
        return ", ".join(filter(None, [f"{progress.counted} jobs done", failed, self._eta.text]))

    def _last_words(self, lines: Iterable[Line]) -> Iterator[Text]:
        for line in lines:
            if said := _last_word(line):
                text = f"  {line.name}> {said}"
                yield Text(text, style="dim", overflow="ellipsis", no_wrap=True)


def _last_word(line: Line) -> str | None:
    if not line.logs:
        return None
    prefix = "" if line.what == RUNNING else f"{line.speaker}> "
    for name in ("guest.log", "host.log") if line.what == RUNNING else ("host.log",):
        for text in reversed(last_lines(line.logs / name, LAST_WORD_WINDOW, LAST_WORD_WINDOW)):
            said = shown(text.removeprefix(prefix))
            if text.startswith(prefix) and not text.startswith(HOST) and said:
                return said
    return None
