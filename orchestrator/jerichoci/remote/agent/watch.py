"""Waiting on a host for a log to grow, so that the orchestrator need not poll it from afar."""

from __future__ import annotations

import asyncio
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.machine.outbox import FIRST_POLL_SECS, LAST_POLL_SECS, POLL_GROWTH
from jerichoci.state.log_file import read_log

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_BYTES = 4 * 1024 * 1024
"""The most that goes over the connection at once: with each of them goes a round trip."""


async def watch_log(path: Path, offset: int, wait_secs: float) -> bytes:
    """The log beyond `offset`, CHUNK_BYTES at most; nothing if it doesn't grow in time."""
    end = time.monotonic() + wait_secs
    pause = FIRST_POLL_SECS
    while True:
        data = b""
        with suppress(OSError):  # the job has replaced it with something else
            data = read_log(path, offset, CHUNK_BYTES).data
        if data or time.monotonic() >= end:
            return data
        await asyncio.sleep(pause)
        pause = min(pause * POLL_GROWTH, LAST_POLL_SECS)


def size_of_log(path: Path) -> int:
    """Bytes of a log; none where the job has removed it."""
    try:
        status = path.lstat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
