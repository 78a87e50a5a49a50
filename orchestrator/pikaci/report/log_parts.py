r"""A log as a page carries it: its end as HTML, what is before as text that the script shows.

The text is in `<script type="text/plain">`, which a browser keeps and neither shows nor lays out:
that is how a page of 50 MB opens at once. In it `<`, backslashes and control characters are written
`\xNN`, so that nothing in a log ends the element, and a log prints no control character.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from jerichoci.state.dataclass import dataclass
from pikaci.report.ansi import to_html

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from markupsafe import Markup

PART_BYTES = 64 * 1024
TAIL_BYTES = 16 * 1024
TAIL_LINES = 400
"""Of a log's end, what is HTML at once: both are upper limits."""
_SPECIAL = [b"\\", b"<", *(bytes([code]) for code in range(32) if code not in {9, 10}), b"\x7f"]


@dataclass(frozen=True)
class Part:
    """What is before the end of a log: escaped text, and the number of its first line."""

    text: str
    first: int


@dataclass(frozen=True)
class Tail:
    """The end of a log, or all of it."""

    html: Markup
    first: int
    numbers: str
    """Those of its lines, one below the other."""


def parts(pieces: Iterable[bytes], first: int = 1) -> Iterator[Part | Tail]:
    """A log in parts, cut at the ends of lines where lines end; the last is its tail.

    `first` is the number of its first line. At most two parts are held.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    held = b""
    for piece in pieces:
        held += decoder.decode(piece).encode()
        start = 0
        while len(held) - start > PART_BYTES + TAIL_BYTES:
            end = _cut(held, start, start + PART_BYTES)
            yield Part(_escaped(held[start:end]), first)
            first += held.count(b"\n", start, end)
            start = end
        held = held[start:]
    held += decoder.decode(b"", final=True).encode()
    if end := _tail(held):
        yield Part(_escaped(held[:end]), first)
        first += held.count(b"\n", 0, end)
        held = held[end:]
    text = held.decode("utf-8", "replace").removesuffix("\n")
    last = first + text.count("\n")
    numbers = "\n".join(map(str, range(first, last + 1))) if text else ""
    yield Tail(to_html(text), first, numbers)


def _tail(data: bytes) -> int:
    """Where the end of a log begins that is HTML at once."""
    most = len(data) - TAIL_BYTES
    start = _cut(data, 0, most) if most > 0 else 0
    rows = re.findall(rb"[^\n]*\n|[^\n]+", data[start:])
    return start + sum(map(len, rows[:-TAIL_LINES]))


def _cut(data: bytes, start: int, end: int) -> int:
    """The end of the last line before `end`; of a longer line, that of a character."""
    found = data.rfind(b"\n", start, end) + 1
    if found > start:
        return found
    while data[end] & 0xC0 == 0x80:  # noqa: PLR2004 - what continues a character
        end -= 1
    return end


def _escaped(data: bytes) -> str:
    for special in _SPECIAL:
        if special in data:
            data = data.replace(special, b"\\x%02x" % special[0])
    return data.decode()
