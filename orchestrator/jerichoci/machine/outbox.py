"""A guest's /artifacts as the host sees it: nothing in it is trusted until it was taken.

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
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Self

from jerichoci.errors import InfrastructureError
from jerichoci.machine.artifacts import Artifact, ArtifactWriter, open_as, read_files
from jerichoci.machine.gather import in_thread
from jerichoci.state.dataclass import dataclass
from jerichoci.state.remove_tree import DIRECTORY_FLAGS

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.machine.artifact_limits import Admission
    from jerichoci.machine.artifacts import Files

RESULT = "result.json"
LOG = "guest.log"
EVENTS = "events.jsonl"
FILES = "files"
STARTED = b'"event": "command_started"'
"""In the line of events.jsonl that says so, as the runner spells it."""
RESULT_BYTES = 64 * 1024
EVENTS_BYTES = 4 * 1024 * 1024
"""The runner writes a few hundred bytes of each; a job that is root may write more."""
LOG_BYTES = 4 * 1024 * 1024
"""Of the log, that are read at once."""
WATCH_SECS = 30.0
"""How long news are waited for in one question to the outbox's host."""
FIRST_POLL_SECS = 0.004
LAST_POLL_SECS = 0.05
POLL_GROWTH = 1.15
"""Quick at first, for short jobs; later as often as a person can tell."""


@dataclass(frozen=True)
class OutboxState:
    """What a guest has left by now: the result as it is, and LOG_BYTES of its log at most."""

    result: bytes | None
    started: bool
    log: bytes


Watch = Callable[[int, float, bool], Awaitable[OutboxState]]
"""Waits for news beyond an offset of the log, for so many seconds; told whether the job's start is
known."""


class Outbox:
    """A context manager: a guest's outbox, opened."""

    def __init__(self, directory: Path) -> None:
        self._directory = os.open(directory, DIRECTORY_FLAGS)
        self._log = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for fd in (self._directory, self._log):
            if fd >= 0:
                os.close(fd)

    def read(self, offset: int, *, has_started: bool) -> OutboxState:
        """The state, with the log from `offset` on."""
        # The result first: when there is one, the log is complete.
        result = _read(self._directory, RESULT, RESULT_BYTES)
        started = has_started or STARTED in (_read(self._directory, EVENTS, RESULT_BYTES) or b"")
        if self._log < 0:
            self._log = _open(LOG, self._directory)
        log = b"" if self._log < 0 else os.pread(self._log, LOG_BYTES, offset)
        return OutboxState(result, started, log)

    async def watch(
        self,
        offset: int,
        wait_secs: float,
        has_started: bool,  # noqa: FBT001 - a `Watch`
        news_secs: float = 0.0,
    ) -> OutboxState:
        """The state as soon as there is news, at the latest after `wait_secs`.

        With news that is not the end, the end is waited for, for `news_secs`: it may be near.
        """
        end = time.monotonic() + wait_secs
        pause = FIRST_POLL_SECS
        is_new = False
        while True:
            state = self.read(offset, has_started=has_started)
            if not is_new and (state.log or state.started != has_started):
                end, is_new = min(end, time.monotonic() + news_secs), True
            is_whole = state.result is not None or len(state.log) >= LOG_BYTES
            if is_whole or time.monotonic() >= end:
                return state
            await asyncio.sleep(pause)
            pause = min(pause * POLL_GROWTH, LAST_POLL_SECS)


class OutboxFollower:
    """The growth of a guest's log, copied into ours, and the result when it is there."""

    def __init__(self, watch: Watch, log: int) -> None:
        self._watch = watch
        self._log = log
        self._offset = 0
        self._started = asyncio.Event()
        self._reading = asyncio.Lock()

    async def result(self) -> dict[str, object]:
        """Wait for the result; the log is complete then."""
        while True:
            result, has_more = await self._next(WATCH_SECS)
            if result is not None and not has_more:
                return parse_result(result)

    async def started(self) -> None:
        """Wait until the job's command has begun; `result` must be waited for, too."""
        await self._started.wait()

    async def copy_log(self) -> bool:
        """Copy what the log has grown by; whether it may have more."""
        return (await self._next(0.0))[1]

    async def _next(self, wait_secs: float) -> tuple[bytes | None, bool]:
        async with self._reading:
            state = await self._watch(self._offset, wait_secs, self._started.is_set())
            if state.started:
                self._started.set()
            if state.log:
                await in_thread(partial(self._append, state.log))
            return state.result, len(state.log) >= LOG_BYTES

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._log, view)
            self._offset += written
            view = view[written:]


@asynccontextmanager
async def follow(watch: Watch, log: Path) -> AsyncIterator[OutboxFollower]:
    """Follow the guest whose outbox is watched; its log goes to the end of `log`."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.lseek(file, 0, os.SEEK_END)
        follower = OutboxFollower(watch, file)
        yield follower
        with suppress(InfrastructureError):  # its host was lost
            while await follower.copy_log():
                pass
    finally:
        os.close(file)


@asynccontextmanager
async def follow_outbox(directory: Path, log: Path) -> AsyncIterator[OutboxFollower]:
    """Follow the guest that has `directory` as its /artifacts."""
    with Outbox(directory) as outbox:
        async with follow(outbox.watch, log) as follower:
            yield follower


def read_outbox(
    directory: Path,
    cancelled: Callable[[], bool] | None = None,
    admission: Admission | None = None,
) -> Files:
    """A guest's result, events and files, which stay as they are; blocking."""
    with ExitStack() as opened:
        outbox = os.open(directory, DIRECTORY_FLAGS)
        opened.callback(os.close, outbox)
        for name, limit in ((RESULT, RESULT_BYTES), (EVENTS, EVENTS_BYTES)):
            data = _read(outbox, name, limit)
            if data is not None:
                yield name, False, iter((data,))
        try:
            files = os.open(FILES, DIRECTORY_FLAGS, dir_fd=outbox)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return
            raise
        opened.callback(os.close, files)
        with closing(read_files(files, cancelled, admission, f"{FILES}/")) as found:
            yield from found


def copy_outbox(
    directory: Path,
    into: Path,
    cancelled: Callable[[], bool] | None = None,
    admission: Admission | None = None,
) -> list[Artifact]:
    """Copy a guest's result, events and files into the directory `into`; blocking."""
    found = read_outbox(directory, cancelled, admission)
    with closing(found) as files, ArtifactWriter(into) as writer:
        for path, is_executable, content in files:
            writer.begin(path, is_executable=is_executable)
            for data in content:
                writer.write(data)
    return below_files(writer.made())


def below_files(copied: list[Artifact]) -> list[Artifact]:
    """The job's own files of what was copied from an outbox."""
    prefix = f"{FILES}/"
    return [
        Artifact(one.path.removeprefix(prefix), one.bytes, one.sha256)
        for one in copied
        if one.path.startswith(prefix)
    ]


def parse_result(data: bytes) -> dict[str, object]:
    """The values of a runner's result."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InfrastructureError(f"the guest's result.json is not JSON: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("status"), str):
        raise InfrastructureError(
            "the guest wrote an invalid result.json", "did the job write to /artifacts?"
        )
    return values


def _open(name: str, directory: int) -> int:
    """Open a regular file; -1 if there is none of that name. One that can't be read is an error."""
    absent = {errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR}
    return open_as(name, directory, stat.S_IFREG, passed_over=absent)


def _read(directory: int, name: str, limit: int) -> bytes | None:
    fd = _open(name, directory)
    if fd < 0:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(limit)
