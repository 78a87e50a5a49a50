"""Writing to stdout and stderr past Python's own buffers.

A write may wait forever for a reader. If it held a lock of `sys.stdout` meanwhile, the program,
which flushes stdout when it exits, would wait as well.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

PIECE_BYTES = 64 * 1024
"""Of one write, after which it can be seen that the reader reads."""


class Out:
    """An output by a descriptor of its own; as a file it is one that rich can print to."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self.name = name
        self.encoding = stream.encoding or "utf-8"
        self.written = 0
        self._fd = os.dup(stream.fileno())

    def write(self, text: str) -> int:
        """Write all of a text; what its encoding lacks is escaped."""
        self.write_bytes(text.encode(self.encoding, "backslashreplace"))
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Write all bytes, however long the reader takes."""
        rest = memoryview(data)
        while rest:
            count = self._write(rest[:PIECE_BYTES])
            self.written += count
            rest = rest[count:]

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            # Who shares the output with us made it so.
            select.select([], [self._fd], [])
            return 0

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._fd)

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)
