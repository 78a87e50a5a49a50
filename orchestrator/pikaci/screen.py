"""Text for a screen: of other programs no control sequences but colours; tables."""

from __future__ import annotations

import os
import re
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from io import FileIO

_CONTROL = re.compile(
    r"\x1b\[(?P<colours>[0-9;:]*)m"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[\]PX^_k][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # a title or a picture, up to its end
    r"|\x1b\](?:[0-9]+;)?"  # a title without an end: its text may be what matters
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_HIDDEN = re.compile(r"(?:^|;)0*8(?:;|$)")
_OF_A_PALETTE = re.compile(r"[345]8[;:]")
_RESET = "\x1b[0m"


def has_colours(stream: IO[str] | FileIO) -> bool:
    """Whether to print colours to `stream`."""
    quiet = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not quiet and stream.isatty()


def shown(line: str, *, colours: bool = False) -> str:
    """A line as a screen shows it in the end: text before a carriage return is overwritten."""
    if line.isprintable():
        return line
    parts = reversed(line.split("\r"))
    last = next((part for part in parts if _CONTROL.sub("", part).strip()), "")
    if not colours:
        return _CONTROL.sub("", last)
    text = _CONTROL.sub(_colour, last)
    return text + _RESET if _RESET[:2] in text else text


def bare(line: str) -> str:
    """All text of a line, also what was written over, without control sequences."""
    return line if line.isprintable() else _CONTROL.sub("", line)


def _colour(found: re.Match[str]) -> str:
    codes = found["colours"]
    if codes is None or (_HIDDEN.search(codes) and not _OF_A_PALETTE.search(codes)):
        return ""
    return found[0]


def as_utf8(text: str) -> str:
    r"""A text in which bytes that aren't UTF-8 are written `\xNN`: every encoder takes it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def one_line(text: str) -> str:
    """A text for one line: control characters and bytes that aren't UTF-8 are escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in as_utf8(text).rstrip()
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose columns are as wide as they need to be, each row on one line."""
    shown_rows = [head, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*shown_rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown_rows
    )
    return "\n".join(lines)
