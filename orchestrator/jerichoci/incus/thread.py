"""Where pylxd blocks without blocking the loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    ResultT = TypeVar("ResultT")

_THREADS = ThreadPoolExecutor(max_workers=32, thread_name_prefix="incus")
"""Most requests wait for operations, so there are more of them than CPUs."""


async def in_thread(work: Callable[..., ResultT], *arguments: object) -> ResultT:
    """Call what blocks on Incus."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work, *arguments)
