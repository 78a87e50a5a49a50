"""How a run is stopped early: everything that waits, waits for this too."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ResultT = TypeVar("ResultT")

PATIENCE_SECS = 30.0
"""From the stop until nothing more is waited for: longer than jobs have to exit."""

LAST_SECS = 3.0
"""To collect what a job left, once the run was stopped."""


class StopReason(StrEnum):
    """Why a run ends early."""

    CANCELLED = "cancelled"
    FAIL_FAST = "fail_fast"
    BROKEN = "broken"


class StoppedError(Exception):
    """The run was stopped while something waited."""


class Stop:
    """Set once; the first reason is kept. `stop_now` is set by a second cancel.

    `on_cancel` is called at the first cancel.
    """

    def __init__(self, on_cancel: Callable[[], None] | None = None) -> None:
        self._on_cancel = on_cancel
        self._since: float | None = None
        self._event = asyncio.Event()
        self.stop_now = asyncio.Event()
        self.reason: StopReason | None = None

    def set(self, reason: StopReason) -> None:
        if self.reason is None:
            self.reason = reason
            self._since = time.monotonic()
            self._event.set()
            if self._on_cancel and reason is StopReason.CANCELLED:
                self._on_cancel()
        elif reason is StopReason.CANCELLED:
            self.stop_now.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def is_overdue(self) -> bool:
        """Whether the run was cancelled twice, or so long ago that nothing more is waited for."""
        late = self._since is not None and time.monotonic() - self._since > PATIENCE_SECS
        return late or self.stop_now.is_set()

    def within(self, secs: float) -> Callable[[], bool]:
        """A check whether `secs` are over from now on, or LAST_SECS since the stop."""
        began = time.monotonic()

        def is_over() -> bool:
            now = time.monotonic()
            is_late = self._since is not None and now - max(began, self._since) > LAST_SECS
            return now - began > secs or is_late or self.stop_now.is_set()

        return is_over

    async def wait(self) -> None:
        await self._event.wait()

    async def unless(self, work: Awaitable[ResultT]) -> ResultT:
        """Wait for `work`, which is cancelled if the run is stopped first."""
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
