"""Lines of bytes that come in pieces; one that doesn't end is never collected."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_BYTES = 64 * 1024
"""The longest line, and the most that is held back."""
LONGEST_CHARACTER = 4
"""Bytes of UTF-8."""


HEAD_BYTES, TAIL_BYTES = 1000, 500
"""Kept of a line that is cut."""


class LineSplitter:
    """Cuts what it is fed into lines of at most LINE_BYTES."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` ends, without their newlines."""
        *lines, rest = (self._rest + data).split(b"\n")
        found = [part for line in lines for part in _parts(line)]
        *full, self._rest = _parts(rest)
        return found + full

    def end(self) -> list[bytes]:
        """The unfinished last line, if there is one."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


class LineCutter:
    """Has lines of what it is fed; of one longer than LINE_BYTES what it begins and ends with."""

    def __init__(self) -> None:
        self._start, self._end, self._length = b"", b"", 0

    def feed(self, data: bytes) -> list[bytes]:
        *lines, rest = data.split(b"\n")
        found = []
        for line in lines:
            if not self._length and len(line) <= LINE_BYTES:
                found.append(line)
                continue
            self._take(line)
            found += self.end()
        self._take(rest)
        return found

    def end(self) -> list[bytes]:
        length, line, end = self._length, self._start, self._end
        self._start, self._end, self._length = b"", b"", 0
        if length > LINE_BYTES:
            mark = b" ... [cut: this line has %d bytes] ... " % length
            line = line[: _boundary(line, HEAD_BYTES)] + mark + end[-TAIL_BYTES:]
        return [line] if length else []

    def _take(self, part: bytes) -> None:
        self._length += len(part)
        self._start += part[: LINE_BYTES - len(self._start)]
        self._end = (self._end + part)[-TAIL_BYTES:]


def _parts(line: bytes) -> Iterator[bytes]:
    start = 0
    while len(line) - start > LINE_BYTES:
        end = _boundary(line, start + LINE_BYTES)
        yield line[start:end]
        start = end
    yield line[start:]


def _boundary(line: bytes, end: int) -> int:
    """The end of the last whole UTF-8 character before `end`; `end` if this isn't UTF-8."""
    for place in range(end, end - LONGEST_CHARACTER, -1):
        if line[place] & 0xC0 != 0x80:  # noqa: PLR2004 - what continues a character
            return place
    return end
