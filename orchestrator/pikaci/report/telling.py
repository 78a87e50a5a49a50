"""The lines of a log that tell why something failed: those that name an error, and the last.

They are chosen by their words. What failed is never decided by them.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import field
from itertools import islice
from typing import TYPE_CHECKING

from jerichoci.plan.model import Model
from jerichoci.state.dataclass import dataclass
from pikaci.screen import bare, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIRST, LAST_TELLING, LAST = 6, 6, 8
"""How many lines are chosen: the first and the last that name an error, and the last of all."""
LONGEST = 500
"""Characters of a line."""
CANDIDATES = 100
"""Lines of a piece that are looked at, from either side."""
NEAR_BYTES = 8 * 1024 * 1024
"""So near to the beginning and to the end of a log lines are looked for that name an error."""
LINE_BYTES = 64 * 1024
"""Of a line, what is looked at."""
_STEMS = (
    *(b"error", b"fail", b"fatal", b"panic", b"exception", b"traceback", b"assert", b"segfault"),
    *(b"segmentation", b"undefined", b"killed", b"not ok", b"no such", b"not found", b"denied"),
    *(b"out of memory", b"e   "),
)
"""Found fast; a line that has one is looked at more closely."""
_TELLS = re.compile(
    r"(?:\b|\w)(?:errors?|exception)\b"
    r"|\b(?:fail(?:s|ed|ures?)?|fatal|panic(?:ked)?|traceback|assert(?:ion|ionerror)?|segfault"
    r"|not ok|segmentation fault|undefined reference|killed|no such file|not found"
    r"|permission denied|out of memory)\b|^E   ",
    re.IGNORECASE,
)
_TELLS_NOT = re.compile(r"\b(?:0|no) (?:errors?|fail(?:ed|ures?))\b", re.IGNORECASE)


class Line(Model):
    """A line of a log: its number in what `pikaci logs RUN --job JOB` prints, without controls."""

    number: int
    text: str


class Telling(Model):
    """The chosen lines of `total` that a job or a prepare printed."""

    total: int = 0
    lines: list[Line] = []


def choose(pieces: Iterable[bytes], first: int = 1, label: bytes = b"") -> Telling:
    """Choose of a log's lines, or of those that begin with `label`, which is left out.

    Lines are counted from `first`.
    """
    chosen = _Chosen(label, first - 1)
    rest = b""
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if end:
            chosen.take(rest + piece[:end])
            rest = b""
        rest = (rest + piece[end:])[:LINE_BYTES]
    if rest:
        chosen.take(rest + b"\n")
    rows = chosen.rows()
    lines = [Line(number=number, text=_text(rows[number])) for number in sorted(rows)]
    return Telling(total=chosen.total, lines=lines)


@dataclass
class _Chosen:
    """The lines that are chosen so far, by number; a piece has whole lines."""

    label: bytes
    _read: int
    total: int = 0
    _first: list[tuple[int, bytes]] = field(default_factory=list)
    _last_pieces: deque[tuple[int, bytes]] = field(default_factory=deque)
    _bytes: int = 0
    _bytes_held: int = 0

    def take(self, data: bytes) -> None:
        if self._bytes < NEAR_BYTES:
            low = data.lower()
            found = (each for each in islice(_hits(low), CANDIDATES) if self._tells(data, *each))
            missing = FIRST - len(self._first)
            self._first += self._rows(data, self._read, islice(found, missing))
        self._last_pieces.append((self._read, data))
        self._bytes += len(data)
        self._bytes_held += len(data)
        while self._bytes_held - len(self._last_pieces[0][1]) > NEAR_BYTES:
            self._bytes_held -= len(self._last_pieces.popleft()[1])
        self.total += data.count(b"\n" + self.label) if self.label else data.count(b"\n")
        self.total += bool(self.label and data.startswith(self.label))
        self._read += data.count(b"\n")

    def rows(self) -> dict[int, bytes]:
        """All that is chosen."""
        telling: list[tuple[int, bytes]] = []
        last: list[tuple[int, bytes]] = []
        for before, data in reversed(self._last_pieces):
            hits = islice(_hits_back(data.lower()), CANDIDATES)
            found = (each for each in hits if self._tells(data, *each))
            telling += self._rows(data, before, islice(found, LAST_TELLING - len(telling)))
            back = islice(self._lines_back(data), LAST - len(last))
            last += self._rows(data, before, back)
        return dict([*self._first, *telling, *last])

    def _rows(
        self, data: bytes, before: int, places: Iterable[tuple[int, int]]
    ) -> Iterator[tuple[int, bytes]]:
        for start, end in places:
            number = before + data.count(b"\n", 0, start) + 1
            yield number, data[start + len(self.label) : min(end, start + LINE_BYTES)]

    def _tells(self, data: bytes, start: int, end: int) -> bool:
        if not data.startswith(self.label, start):
            return False
        text = bare(data[start : min(end, start + LINE_BYTES)].decode("utf-8", "replace"))
        return _TELLS.search(text) is not None and not _TELLS_NOT.search(text)

    def _lines_back(self, data: bytes) -> Iterator[tuple[int, int]]:
        end = len(data)
        while end > 0:
            start = data.rfind(b"\n" + self.label, 0, end - 1) + 1
            if start or data.startswith(self.label):
                yield start, data.find(b"\n", start)
            end = start


def _hits(low: bytes) -> Iterator[tuple[int, int]]:
    """Where lines begin and end that have a stem, from the first on."""
    nexts = {stem: low.find(stem) for stem in _STEMS}
    while found := [place for place in nexts.values() if place >= 0]:
        place = min(found)
        end = low.find(b"\n", place)
        yield low.rfind(b"\n", 0, place) + 1, end
        for stem, other in nexts.items():
            if 0 <= other < end:
                nexts[stem] = low.find(stem, end)


def _hits_back(low: bytes) -> Iterator[tuple[int, int]]:
    """The same from the last on."""
    nexts = {stem: low.rfind(stem) for stem in _STEMS}
    while (place := max(nexts.values())) >= 0:
        start = low.rfind(b"\n", 0, place) + 1
        yield start, low.find(b"\n", place)
        for stem, other in nexts.items():
            if other >= start:
                nexts[stem] = low.rfind(stem, 0, start)


def _text(line: bytes) -> str:
    text = shown(line.decode("utf-8", "replace"))
    return f"{text[:LONGEST]} ..." if len(text) > LONGEST else text
