"""Bytes of logs, which are never read whole.

A job may have put something else in a log's place: links are not followed, and what is no file has
no bytes.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Window:
    """Bytes from `offset`; the log had `size` of them when they were read."""

    data: bytes
    offset: int
    size: int

    @property
    def next_offset(self) -> int:
        """Where to read on."""
        return self.offset + len(self.data)


def read_window(paths: Sequence[Path], offset: int, limit: int) -> Window:
    """At most `limit` bytes of logs that follow each other; a negative offset is from their end."""
    sizes = [size_of(path) or 0 for path in paths]
    size = sum(sizes)
    offset = max(0, size + offset) if offset < 0 else min(offset, size)
    data, start = b"", offset
    for path, length in zip(paths, sizes, strict=True):
        if len(data) < limit and start < length:
            data += read(path, start, min(limit - len(data), length - start))
        start = max(0, start - length)
    return Window(data, offset, size)


def size_of(path: Path) -> int | None:
    """A log's size; None if there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def read(path: Path, offset: int, limit: int) -> bytes:
    """At most `limit` bytes; none of what is no log."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return b""
    try:
        return os.pread(fd, limit, offset) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
