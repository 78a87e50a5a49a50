"""Logs as records point at them: read by offset, followed to their end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.state.dataclass import dataclass
from jerichoci.state.reading import open_file

if TYPE_CHECKING:
    from pathlib import Path


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
    """Bytes of a log from `offset`; `next_offset` is where to read on."""

    data: bytes
    offset: int
    next_offset: int


def read_log(path: Path, offset: int = 0, limit: int | None = None) -> LogChunk:
    """Read at most `limit` bytes from `offset`; a log that isn't there is empty."""
    if offset < 0 or (limit is not None and limit < 0):
        raise UsageError("the offset and the limit of a log can't be negative")
    try:
        # A job may have put something else in its place: links are not followed.
        with os.fdopen(open_file(path, os.O_NOFOLLOW), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(min(offset, size))
            rest = max(0, size - offset)
            data = file.read(rest if limit is None else min(limit, rest))
    except FileNotFoundError:
        data = b""
    return LogChunk(data=data, offset=offset, next_offset=offset + len(data))


def log_metadata(job_id: str, kind: str, path: Path) -> LogMetadata:
    """A log's place and size; it is not read."""
    try:
        size = path.lstat().st_size
    except OSError:
        return LogMetadata(job_id=job_id, kind=kind, path=path, exists=False, bytes=0)
    return LogMetadata(job_id=job_id, kind=kind, path=path, exists=True, bytes=size)


def last_lines(path: Path, count: int, window: int = 64 * 1024) -> list[str]:
    """The last `count` lines of a log, from its last `window` bytes, undecodable bytes replaced."""
    try:
        with os.fdopen(open_file(path, os.O_NOFOLLOW), "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - window))
            data = file.read()
    except OSError:
        return []
    lines = data.removesuffix(b"\n").decode("utf-8", "replace").split("\n")
    return lines[-count:] if data else []
