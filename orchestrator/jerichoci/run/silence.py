"""Ending a job that prints nothing for a time: `silenceSecs`."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from jerichoci.machine.gather import meanwhile
from jerichoci.machine.stop import Stop, StopReason
from jerichoci.placement import Placement, operations
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

LOOK_SECS = 1.0
"""Between two looks at the logs; a short `silenceSecs` is looked at more often."""
ARRIVE_SECS = 1.0
"""For what was printed to arrive here, once its host answers."""


@dataclass
class Heard:
    """What stops the job, and whether that was its silence."""

    stop: Stop
    was_silent: bool = False


@asynccontextmanager
async def hearing(
    stop: Stop, secs: int | None, logs: Sequence[Path], placement: Placement
) -> AsyncIterator[Heard]:
    """Watch what a job prints to these logs, which are here; without `secs` nothing is watched."""
    if secs is None:
        yield Heard(stop)
        return
    heard = Heard(Stop())
    async with meanwhile(
        _watch(heard, secs, logs, placement), _pass_on(stop, heard.stop), _hurry(stop, heard.stop)
    ):
        yield heard


async def _watch(heard: Heard, secs: int, logs: Sequence[Path], placement: Placement) -> None:
    size, since = _size(logs), time.monotonic()
    while True:
        await asyncio.sleep(min(LOOK_SECS, secs / 4))
        if time.monotonic() - since >= secs and placement.is_remote:
            # It may have printed while its host could not be reached.
            await placement.do(operations.read, logs[0], 0)
            await asyncio.sleep(ARRIVE_SECS)
        if (now := _size(logs)) != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since >= secs:
            heard.was_silent = True
            heard.stop.set(StopReason.BROKEN)
            return


def _size(logs: Sequence[Path]) -> int:
    size = 0
    for log in logs:
        with suppress(OSError):
            size += os.stat(log).st_size  # noqa: PTH116 - each second, for each job
    return size


async def _pass_on(stop: Stop, to: Stop) -> None:
    await stop.wait()
    to.set(stop.reason or StopReason.CANCELLED)


async def _hurry(stop: Stop, to: Stop) -> None:
    await stop.stop_now.wait()
    to.stop_now.set()
