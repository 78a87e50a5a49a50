"""Threads for requests to Incus, which block."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from jerichoci.runtime.incus.api import EndingError

if TYPE_CHECKING:
    from collections.abc import Callable

    ResultT = TypeVar("ResultT")

ENDING_SECS = 600.0
"""For a daemon that is shutting down to exit, and the next one to start."""
ENDING_PAUSE_SECS = 0.5
_THREADS = ThreadPoolExecutor(max_workers=32, thread_name_prefix="incus")
"""Most requests wait for operations, so there are more of them than CPUs."""


async def in_thread(work: Callable[..., ResultT], *arguments: object) -> ResultT:
    """Call a function that blocks on Incus."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work, *arguments)


async def in_thread_at_last(
    give_up: Callable[[], bool], work: Callable[..., ResultT], *arguments: object
) -> ResultT:
    """Likewise; what a daemon refuses because it is shutting down is asked of the next one."""
    end = time.monotonic() + ENDING_SECS
    while True:
        try:
            return await in_thread(work, *arguments)
        except EndingError:
            if give_up() or time.monotonic() > end:
                raise
        await asyncio.sleep(ENDING_PAUSE_SECS)
