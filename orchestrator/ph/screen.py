"""Text for a terminal: nothing that a server sends gets there as an escape sequence."""

from __future__ import annotations

import json
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 80
MIN_LAST_COLUMN = 20
_STRING = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]{0,255}"
_CONTROL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    rf"|{_STRING}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b(?:[ -/]+[0-~]|[0-OQ-WYZ\\`-~])"
    rf"|(?P<unfinished>(?:\r|\x1b[ -/]*|(?:\x1b\[|\x9b)[0-?]*[ -/]*|{_STRING}\x1b?)\Z)"
    r"|(?P<newline>\r\n?)"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
"""What controls a terminal; a sequence that the text ends in is `unfinished`."""


def one_line(text: object) -> str:
    """A text for one line: what does not print is written as its escape."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in str(text).strip()
    )


class LogFilter:
    """A log on its way to a terminal: without control sequences, also those cut in two.

    Carriage returns begin new lines: none overwrites what was there.
    """

    def __init__(self) -> None:
        self._kept = ""

    def feed(self, text: str) -> str:
        """What may be printed of it so far; a sequence that has not ended yet is kept."""
        text, self._kept = self._kept + text, ""
        return _CONTROL.sub(self._replace, text)

    def end(self) -> str:
        """What was kept: without its first character it is text."""
        found = ""
        while self._kept:
            kept, self._kept = self._kept, ""
            found += "\n" if kept == "\r" else self.feed(kept[1:])
        return found

    def _replace(self, found: re.Match[str]) -> str:
        if found["unfinished"] is not None:
            self._kept = found[0]
        return "\n" if found["newline"] is not None else ""


def say(text: str = "") -> None:
    """Print lines; each is made safe."""
    click.echo("\n".join(one_line_keeping_indent(line) for line in text.split("\n")))


def note(text: str) -> None:
    """Print to stderr, beside the data."""
    click.echo(one_line(text), err=True)


def one_line_keeping_indent(line: str) -> str:
    """`one_line` of a line whose leading spaces matter."""
    return " " * (len(line) - len(line.lstrip(" "))) + one_line(line)


def print_json(value: Any) -> None:  # noqa: ANN401 - JSON
    """Print as JSON, in ASCII: nothing in it reaches a terminal as it is."""
    click.echo(json.dumps(value, indent=2).replace("\x7f", "\\u007f"))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns; the last one is broken into lines where the terminal ends."""
    cells = [list(head), *([one_line("" if cell is None else cell) for cell in r] for r in rows)]
    widths = [max(map(cell_width, column)) for column in zip(*cells, strict=True)]
    before = sum(width + 2 for width in widths[:-1])
    room = max(MIN_LAST_COLUMN, terminal_width() - before)
    lines = []
    for row in cells:
        fixed = "".join(
            cell + " " * (width + 2 - cell_width(cell))
            for cell, width in zip(row[:-1], widths[:-1], strict=True)
        )
        first, *more = wrapped(row[-1], room)
        lines.append((fixed + first).rstrip())
        lines.extend(" " * before + line for line in more)
    return "\n".join(lines)


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a text, at least one."""
    if len(text) <= width:
        return [text]
    from textwrap import wrap

    return wrap(text, width, break_on_hyphens=False) or [""]


def terminal_width() -> int:
    """How wide lines may be: as the terminal is; 80 columns where there is none."""
    if not sys.stdout.isatty():
        return WIDTH
    return shutil.get_terminal_size((WIDTH, 24)).columns


def cell_width(text: str) -> int:
    """The columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 1 + (east_asian_width(c) in "WF") for c in text)


def duration(secs: float) -> str:
    """Seconds in words: `0.4 s`, `48 s`, `1m 02s`, `3h 07m`, `2d 04h`."""
    if secs < 9.95:  # noqa: PLR2004 - from here on tenths say nothing
        return f"{max(0.0, secs):.1f} s"
    whole = round(secs)
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{whole} s"
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02}h"
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {seconds:02}s"


def ago(then: float | None, now: float | None = None) -> str:
    """How long ago a time is."""
    import time

    return "" if then is None else f"{duration((now or time.time()) - then)} ago"
