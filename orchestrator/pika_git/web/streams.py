"""Logs as they are written, as server-sent events.

An event's id is the byte offset after what it has, so that a client continues exactly there,
however often its connection or the service ends: `Last-Event-ID` wins over `offset`. Events:

- `message`: `{"offset", "text"}`, cut at the end of a line, or at least of a character. Bytes that
  are no UTF-8 are replaced in `text`; then `base64` has them as they are.
- `end`: `{"size", "next_job_attempt"}`; nothing more comes. Another try at the job has another log.
- `gone`: the records were removed.
- `revoked`: the caller may no longer read it.

A comment comes each 15 s at least. A stream holds no connection to the database while it waits.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from jerichoci import UsageError
from pika_git.forge_service.errors import GoneError
from pika_git.forge_service.log_bytes import read, size_of
from pika_git.web.auth import identify
from pika_git.web.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import Message, Send

    from pika_git.forge_service.records import LogFile
    from pika_git.persistence.auth import Role

CHUNK_BYTES = 64 * 1024
POLL_SECS = 0.02
"""How often a log's size is looked at: one `stat` of each log that is followed, 2 us."""
END_SECS = 0.5
"""How often it is looked at whether a log that does not grow is over."""
_DECODER = codecs.getincrementaldecoder("utf-8")


@dataclass(frozen=True)
class Pace:
    """How often a stream says that it lives and looks at who reads it, in seconds."""

    comment_secs: float = 15.0
    send_secs: float = 30.0
    """How long a follower may read nothing; what it has not read is at most a chunk or two."""


@dataclass
class Growth:
    """Tells those who wait for a file that its size has changed, or that the service ends."""

    is_stopping: bool = False
    followers: int = 0
    """How many streams are open."""
    _waiting: dict[Path, set[tuple[int, asyncio.Future[None]]]] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None

    async def wait(self, path: Path, size: int, secs: float) -> None:
        """Return when the file at `path` has another size than `size`, or after `secs`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size, future)
        self._waiting.setdefault(path, set()).add(entry)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(future, secs)
        finally:
            self._waiting[path].discard(entry)
            if not self._waiting[path]:
                del self._waiting[path]

    async def _poll(self) -> None:
        while self._waiting:
            await asyncio.sleep(POLL_SECS)
            for path, entries in list(self._waiting.items()):
                now = size_of(path) or 0
                for size, future in list(entries):
                    if (size != now or self.is_stopping) and not future.done():
                        future.set_result(None)


class EventStream(StreamingResponse):
    """Server-sent events that proxies pass on at once, to followers that read them."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], pace: Pace) -> None:
        super().__init__(events, headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})
        self._pace = pace

    async def stream_response(self, send: Send) -> None:
        """Send the events; a follower that takes none for too long is left."""

        async def send_in_time(message: Message) -> None:
            await asyncio.wait_for(send(message), self._pace.send_secs)

        with suppress(TimeoutError):
            await super().stream_response(send_in_time)


@dataclass
class Reader:
    """Who follows: looked at again now and then, since a token may be revoked meanwhile."""

    request: Request
    role: Role
    every_secs: float
    _next: float = 0.0

    def __post_init__(self) -> None:
        self._next = time.monotonic() + self.every_secs

    @property
    def secs_left(self) -> float:
        """When to look again."""
        return max(0.0, self._next - time.monotonic())

    async def may_read(self) -> bool:
        """Whether it still may."""
        self._next = time.monotonic() + self.every_secs
        try:
            principal = await run_in_threadpool(identify, self.request)
        except ApiError:
            return False
        return principal.role >= self.role


async def follow(
    find: Callable[[], LogFile | None],
    state_root: Path,
    offset: int,
    growth: Growth,
    reader: Reader,
) -> AsyncIterator[bytes]:
    """The events of a log from a byte offset on; `find` gives None until its run has begun."""
    growth.followers += 1
    try:
        async for event in _events(find, state_root, offset, growth, reader):
            yield event
    except (GoneError, UsageError):  # whenever the records are removed
        yield _event("gone", {})
    finally:
        growth.followers -= 1


async def _events(
    find: Callable[[], LogFile | None],
    state_root: Path,
    offset: int,
    growth: Growth,
    reader: Reader,
) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    log: LogFile | None = None
    is_over, next_look = False, 0.0
    while not growth.is_stopping:
        if not reader.secs_left:
            if not await reader.may_read():
                yield _event("revoked", {})
                return
            yield b": alive\n\n"
        if not is_over and time.monotonic() >= next_look:
            next_look = time.monotonic() + END_SECS
            log = await run_in_threadpool(find) if log is None else log
            is_over = log is not None and await run_in_threadpool(_is_over, log)
        secs = max(0.0, min(next_look - time.monotonic(), reader.secs_left))
        if log is None:
            await growth.wait(state_root, 0, secs)
            continue
        path = log.path
        data = await run_in_threadpool(read, path, offset, CHUNK_BYTES)
        if piece := cut(data, is_end=is_over and len(data) < CHUNK_BYTES):
            yield _chunk(piece, offset)
            offset += len(piece)
        elif is_over:
            yield _event("end", await run_in_threadpool(_end, log))
            return
        else:
            await growth.wait(path, max(size_of(path) or 0, 0), secs)


def _is_over(log: LogFile) -> bool:
    if log.is_gone():
        raise GoneError(f"the records of run {log.run_id} were removed")
    return log.is_over()


def _end(log: LogFile) -> dict[str, object]:
    return {"size": size_of(log.path) or 0, "next_job_attempt": log.next_attempt()}


def cut(data: bytes, *, is_end: bool = False) -> bytes:
    """What may be sent of bytes that may go on: whole lines, else whole characters."""
    if end := data.rfind(b"\n") + 1:
        return data[:end]
    if is_end:
        return data
    decoder = _DECODER("replace")
    decoder.decode(data)
    return data[: len(data) - len(decoder.getstate()[0])]


def _chunk(data: bytes, offset: int) -> bytes:
    values: dict[str, object] = {"offset": offset}
    try:
        values["text"] = data.decode()
    except UnicodeDecodeError:
        values["text"] = data.decode("utf-8", "replace")
        values["base64"] = base64.b64encode(data).decode()
    return f"id: {offset + len(data)}\ndata: {json.dumps(values)}\n\n".encode()


def _event(name: str, values: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(values)}\n\n".encode()
