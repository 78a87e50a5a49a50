"""A guest's /artifacts as the host sees it: what is in it is a stranger's until it was collected.

The guest's root may put anything there, and change it while it is read: links, FIFOs, setuid files,
directories that move. So nothing is opened through a link, only regular files are read, and what is
taken is copied into files of our own.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine import artifacts
from jerichoci.state.remove_tree import DIRECTORY_FLAGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from jerichoci.machine.artifacts import Artifact


RESULT = "result.json"
LOG = "guest.log"
EVENTS = "events.jsonl"
FILES = "files"
STARTED = b'"event": "command_started"'
"""In the line of events.jsonl that says so, as the runner spells it."""
RESULT_BYTES = 64 * 1024
EVENTS_BYTES = 4 * 1024 * 1024
"""The runner writes a few hundred bytes of each; a job that is root may write more."""
FIRST_POLL_SECS = 0.004
LAST_POLL_SECS = 0.05
POLL_GROWTH = 1.15
"""Quick at first, for short jobs; later as often as a person can tell."""
COPY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Glimpse:
    """What a guest has left by now: the result as it is, and its log from an offset."""

    result: bytes | None
    started: bool
    log: bytes


def look(directory: Path, offset: int, limit: int) -> Glimpse:
    """See what a guest has left, with at most `limit` bytes of its log from `offset`.

    Raises:
        OSError: it can't be read.
    """
    outbox = os.open(directory, DIRECTORY_FLAGS)
    try:
        # The result first: when there is one, the log is complete.
        result = _read(outbox, RESULT, RESULT_BYTES)
        started = STARTED in (_read(outbox, EVENTS, RESULT_BYTES) or b"")
        return Glimpse(result, started, _read(outbox, LOG, limit, offset) or b"")
    finally:
        os.close(outbox)


class Following:
    """The growth of a guest's log, copied into ours, and the result when it is there."""

    def __init__(self, outbox: int, log: int) -> None:
        self._outbox = outbox
        self._log = log
        self._source = -1
        self._offset = 0
        self._copying: asyncio.Task[None] | None = None
        self._is_closed = False

    async def result(self) -> dict[str, object]:
        """Wait for the result; the log is complete then.

        Raises:
            InfrastructureError: it is none.
        """
        pause = FIRST_POLL_SECS
        while True:
            data = _read(self._outbox, RESULT, RESULT_BYTES)
            grew = await self.carry()
            if data is not None:
                return parse_result(data)
            await asyncio.sleep(pause)
            pause = FIRST_POLL_SECS if grew else min(pause * POLL_GROWTH, LAST_POLL_SECS)

    async def started(self) -> None:
        """Wait until the runner says that the job's command has begun."""
        pause = FIRST_POLL_SECS
        while STARTED not in (_read(self._outbox, EVENTS, RESULT_BYTES) or b""):
            await asyncio.sleep(pause)
            pause = min(pause * POLL_GROWTH, LAST_POLL_SECS)

    async def carry(self) -> bool:
        """Copy what the log has grown by; whether it has.

        Raises:
            OSError: our log can't be written.
        """
        await self._copied()  # for somebody who didn't wait for its end
        if self._source < 0:
            self._source = _open_regular(self._outbox, LOG)
        if self._source < 0 or os.fstat(self._source).st_size <= self._offset:
            return False
        self._copying = asyncio.create_task(asyncio.to_thread(self._copy))
        await self._copied()
        return True

    async def close(self) -> None:
        """Let go of the guest's log, once nobody reads it."""
        self._is_closed = True
        try:
            await self._copied()
        finally:
            if self._source >= 0:
                os.close(self._source)

    async def _copied(self) -> None:
        """Wait for the copying that goes on: a thread isn't cancelled with who waits for it."""
        if self._copying is not None:
            try:
                await asyncio.shield(self._copying)
            finally:
                if self._copying.done():
                    self._copying = None

    def _copy(self) -> None:
        end = os.fstat(self._source).st_size
        while self._offset < end and not self._is_closed:
            copied = _copy_range(self._source, self._log, self._offset, end - self._offset)
            if not copied:
                return
            self._offset += copied


@asynccontextmanager
async def following(directory: Path, log: Path) -> AsyncIterator[Following]:
    """Follow the guest that has `directory` as its /artifacts; its log goes to the end of `log`."""
    outbox = os.open(directory, DIRECTORY_FLAGS)
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.lseek(file, 0, os.SEEK_END)
            followed = Following(outbox, file)
            try:
                yield followed
                await followed.carry()
            finally:
                await followed.close()
        finally:
            os.close(file)
    finally:
        os.close(outbox)


def collect(
    directory: Path, into: Path, cancelled: Callable[[], bool] | None = None
) -> list[Artifact]:
    """Copy a guest's files, result and events into the directory `into`; blocking.

    Raises:
        OSError: something can't be read or written; with ECANCELED, it was cancelled.
    """
    outbox = os.open(directory, DIRECTORY_FLAGS)
    try:
        for name, limit in ((RESULT, RESULT_BYTES), (EVENTS, EVENTS_BYTES)):
            data = _read(outbox, name, limit)
            if data is not None:
                _write(into / name, data)
        try:
            files = os.open(FILES, DIRECTORY_FLAGS, dir_fd=outbox)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return []
            raise
        try:
            return artifacts.copy(files, into / FILES, cancelled)
        finally:
            os.close(files)
    finally:
        os.close(outbox)


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(path, "wb", opener=lambda name, _: os.open(name, flags, artifacts.MODE)) as file:
        file.write(data)


def _open_regular(directory: int, name: str) -> int:
    """Open a regular file; -1 if there is none of that name."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=directory)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR}:
            return -1
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return -1


def _read(directory: int, name: str, limit: int, offset: int = 0) -> bytes | None:
    fd = _open_regular(directory, name)
    if fd < 0:
        return None
    try:
        os.lseek(fd, offset, os.SEEK_SET)
        return b"".join(_chunks(fd, limit))
    finally:
        os.close(fd)


def _chunks(fd: int, limit: int) -> Iterator[bytes]:
    while limit > 0 and (data := os.read(fd, limit)):
        limit -= len(data)
        yield data


def parse_result(data: bytes) -> dict[str, object]:
    """What a runner's result says.

    Raises:
        InfrastructureError: it is none.
    """
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InfrastructureError(f"the guest's result is no JSON: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("status"), str):
        raise InfrastructureError("the guest's result is none", "did the job write to /artifacts?")
    return values


def _copy_range(source: int, target: int, offset: int, count: int) -> int:
    """Copy bytes to where `target` is; without passing them through here, where that can be."""
    count = min(count, COPY_BYTES)
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source, target, count, offset)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
                raise
    data = os.pread(source, count, offset)
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
    return len(data)
