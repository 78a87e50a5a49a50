"""How `pikaci logs` prints what it reads: bytes as they are; lines for a terminal or a search."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING

from jerichoci.state.line_splitter import LineCutter, LineSplitter
from pikaci.screen import bare, has_colours, shown

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator


class Matches:
    """The lines of a log in which a pattern is found, as `LABEL:NUMBER:LINE`.

    Colours and other sequences for terminals are no part of what is searched. Of a line of more
    than 64 KiB its beginning and its end are.
    """

    def __init__(self, pattern: re.Pattern[str], label: str | None, numbers: Iterator[int]) -> None:
        self.count = 0
        self._pattern = pattern
        self._label = f"{label}:" if label else ""
        self._numbers = numbers
        self._lines = LineCutter()

    def feed(self, data: bytes) -> bytes:
        """The matches in the lines that `data` ends."""
        return b"".join(self._found(self._lines.feed(data)))

    def end(self) -> bytes:
        """The last line, if it has no end and matches."""
        return b"".join(self._found(self._lines.end()))

    def among(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The matches in a whole log."""
        for data in pieces:
            yield self.feed(data)
        yield self.end()

    def _found(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            number = next(self._numbers)
            if self._pattern.search(bare(line.decode("utf-8", "replace"))):
                self.count += 1
                yield f"{self._label}{number}:".encode() + line + b"\n"


def last_lines(pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    """The last `count` lines; what can't be one of them is let go while the rest is read."""
    kept: deque[tuple[bytes, int]] = deque()
    ends = 0
    for data in pieces:
        kept.append((data, data.count(b"\n")))
        ends += kept[-1][1]
        while ends - kept[0][1] > count:
            ends -= kept.popleft()[1]
    whole = b"".join(data for data, _ in kept)
    start = len(whole)
    for _ in range(count + whole.endswith(b"\n")):
        start = whole.rfind(b"\n", 0, start)
        if start < 0:
            break
    yield whole[start + 1 :] if count else b""


class Printer:
    """Prints logs, each from a line of its own on: bytes as they are, or lines.

    Lines have labels, or colours at most, for a terminal.
    """

    def __init__(self, *, labels: bool = False) -> None:
        self._labels = labels
        self._is_terminal = sys.stdout.isatty()
        self._colours = has_colours(sys.stdout)
        self._unfinished: dict[object, tuple[str, LineSplitter]] = {}
        self._last: object = None
        self._is_cut = False

    def head(self, label: str) -> None:
        """Begin the logs of a job."""
        self.end()
        self._put(None, f"==> {label} <==\n".encode())

    def write(self, label: str, log: object, data: bytes) -> None:
        """Print what is next in a log; `log` is any value that stands for it."""
        if self._labels or self._is_terminal:
            _, lines = self._unfinished.setdefault(log, (label, LineSplitter()))
            data = b"".join(self._line(label, line) for line in lines.feed(data))
        self._put(log, data)

    def end(self) -> None:
        """Print the last lines that have no end."""
        for log, (label, lines) in self._unfinished.items():
            self._put(log, b"".join(self._line(label, line) for line in lines.end()))
        self._unfinished.clear()

    def _line(self, label: str, line: bytes) -> bytes:
        if self._is_terminal:
            text = shown(line.decode("utf-8", "replace"), colours=self._colours)
            line = text.encode(sys.stdout.encoding, "backslashreplace")
        return (f"{label}> ".encode() if self._labels else b"") + line + b"\n"

    def _put(self, log: object, data: bytes) -> None:
        if data:
            separator = b"\n" if self._is_cut and log != self._last else b""
            sys.stdout.buffer.write(separator + data)
            sys.stdout.buffer.flush()
            self._last, self._is_cut = log, not data.endswith(b"\n")
