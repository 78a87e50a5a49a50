"""The one way in which a run is told to end early: everything that waits, waits for this too."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ResultT = TypeVar("ResultT")

PATIENCE_SECS = 30.0
"""From the word to end until nothing more is waited for: longer than jobs have to end in order."""

LAST_SECS = 3.0
"""For a look at what is left, once the run was told to end."""


class StopReason(StrEnum):
    """Why a run ends early."""

    CANCELLED = "cancelled"
    FAIL_FAST = "fail_fast"
    BROKEN = "broken"


class StoppedError(Exception):
    """What was waited for will not come: the run was told to stop."""


class Stop:
    """Set once; the first reason stays. `haste` is set when somebody asks again.

    `told` is called when somebody asks for the first time.
    """

    def __init__(self, told: Callable[[], None] | None = None) -> None:
        self._told = told
        self._since: float | None = None
        self._event = asyncio.Event()
        self.haste = asyncio.Event()
        self.reason: StopReason | None = None

    def set(self, reason: StopReason) -> None:
        """Tell the run to end."""
        if self.reason is None:
            self.reason = reason
            self._since = time.monotonic()
            self._event.set()
            if self._told and reason is StopReason.CANCELLED:
                self._told()
        elif reason is StopReason.CANCELLED:
            self.haste.set()

    def is_set(self) -> bool:
        """Whether the run was told to end."""
        return self._event.is_set()

    def is_pressing(self) -> bool:
        """Whether it was told twice, or so long ago that nothing more is to be waited for."""
        late = self._since is not None and time.monotonic() - self._since > PATIENCE_SECS
        return late or self.haste.is_set()

    def within(self, secs: float) -> Callable[[], bool]:
        """What says whether `secs` are over from now on, or a few once the run is told to end."""
        began = time.monotonic()

        def is_over() -> bool:
            now = time.monotonic()
            is_told = self._since is not None and now - max(began, self._since) > LAST_SECS
            return now - began > secs or is_told or self.haste.is_set()

        return is_over

    async def wait(self) -> None:
        """Wait until the run is told to end."""
        await self._event.wait()

    async def unless(self, work: Awaitable[ResultT]) -> ResultT:
        """Wait for `work`, which is cancelled if the run is told to end first.

        Raises:
            StoppedError: it was.
        """
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise StoppedError
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
