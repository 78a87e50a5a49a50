"""Waiting on a host for what grows there, so that nobody has to ask again and again from afar."""

from __future__ import annotations

import asyncio
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.machine.outbox import FIRST_POLL_SECS, LAST_POLL_SECS, POLL_GROWTH, Glimpse, look
from jerichoci.state.log_file import read_log

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_BYTES = 4 * 1024 * 1024
"""The most that goes over the connection at once: with each of them goes a round trip."""


async def watch_log(path: Path, offset: int, wait_secs: float) -> bytes:
    """What a log has beyond `offset`, CHUNK_BYTES at most; nothing if it doesn't grow in time."""
    end = time.monotonic() + wait_secs
    pause = FIRST_POLL_SECS
    while True:
        data = b""
        with suppress(OSError):  # its job has put something else in its place
            data = read_log(path, offset, CHUNK_BYTES).data
        if data or time.monotonic() >= end:
            return data
        await asyncio.sleep(pause)
        pause = min(pause * POLL_GROWTH, LAST_POLL_SECS)


def size_of_log(path: Path) -> int:
    """How much there is to read of a log; nothing, where its job has taken it away."""
    try:
        status = path.lstat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


async def watch_outbox(
    directory: Path, offset: int, wait_secs: float, *, has_started: bool
) -> Glimpse:
    """What a guest has left beyond what is known of it, or the same again after `wait_secs`."""
    end = time.monotonic() + wait_secs
    pause = FIRST_POLL_SECS
    while True:
        seen = look(directory, offset, CHUNK_BYTES)
        is_news = seen.result is not None or seen.log or (seen.started and not has_started)
        if is_news or time.monotonic() >= end:
            return seen
        await asyncio.sleep(pause)
        pause = min(pause * POLL_GROWTH, LAST_POLL_SECS)
