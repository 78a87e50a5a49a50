"""Writing to stdout and stderr past Python's own buffers.

A write may wait forever for a reader. If it held a lock of `sys.stdout` meanwhile, the program,
which flushes stdout when it exits, would wait as well.
"""

from __future__ import annotations

import io
import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from _typeshed import ReadableBuffer

PIECE_BYTES = 64 * 1024
"""Of one write, after which it can be seen that the reader reads."""


class Out(io.FileIO):
    """An output by a descriptor of its own; as a file it is one that rich can print to."""

    def __init__(self, stream: TextIO, name: str) -> None:
        super().__init__(os.dup(stream.fileno()), "w")
        self.name = name
        self.encoding = stream.encoding or "utf-8"
        self.written = 0

    def write(self, data: str | ReadableBuffer) -> int:
        """Write all of it, however long the reader takes; what the encoding lacks is escaped."""
        if isinstance(data, str):
            data = data.encode(self.encoding, "backslashreplace")
        rest = memoryview(data)
        while rest:
            count = super().write(rest[:PIECE_BYTES])
            if count is None:
                # Another process that shares the output made it non-blocking.
                select.select([], [self], [])
                continue
            self.written += count
            rest = rest[count:]
        return len(memoryview(data))
