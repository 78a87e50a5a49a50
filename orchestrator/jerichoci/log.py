"""Logs as records point at them: read by offset, followed to their end."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


LOG_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class LogMetadata:
    """A log's place and size in bytes."""

    job_id: str
    kind: str
    path: Path
    exists: bool
    bytes: int


@dataclass(frozen=True)
class LogChunk:
    """Bytes of a log from `offset`; `next_offset` is where to go on."""

    data: bytes
    offset: int
    next_offset: int


def read_log(path: Path, offset: int = 0, limit: int | None = None) -> LogChunk:
    """Read at most `limit` bytes from `offset`; a log that isn't there is empty.

    Raises:
        OSError: it can't be read, or something else has its name.
    """
    try:
        with os.fdopen(_open(path), "rb") as file:
            file.seek(offset)
            data = file.read() if limit is None else file.read(limit)
    except FileNotFoundError:
        data = b""
    return LogChunk(data=data, offset=offset, next_offset=offset + len(data))


def _open(path: Path) -> int:
    """Open what a job may have put something else in the place of, which is never waited for."""
    fd = os.open(path, LOG_FLAGS)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "this is no file", str(path))
    return fd


def log_metadata(job_id: str, kind: str, path: Path) -> LogMetadata:
    """What can be said of a log without reading it."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return LogMetadata(job_id=job_id, kind=kind, path=path, exists=False, bytes=0)
    return LogMetadata(job_id=job_id, kind=kind, path=path, exists=True, bytes=size)


def last_lines(path: Path, count: int, window: int = 64 * 1024) -> list[str]:
    """The last `count` lines of a log, from its last `window` bytes, undecodable bytes replaced."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - window))
            data = file.read()
    except OSError:
        return []
    return data.decode("utf-8", "replace").splitlines()[-count:]
