"""Waiting for a job in a guest, whatever the guest is: its result, its end, or the word to stop."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from jerichoci.errors import InfrastructureError
from jerichoci.machine.ending import SIGNALLED
from jerichoci.runtime import Finish

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from jerichoci.machine.outbox import OutboxFollower
    from jerichoci.machine.stop import Stop

GRACE_SECS = 10.0
"""From TERM to KILL in the guest."""
KILL_SECS = 30.0
"""The runner's own limit for what it killed to be gone."""
HOST_MARGIN_SECS = 60.0
"""How much later than the guest's last deadline the host's is: the guest has the first word."""
SETUP_SECS = 900.0
"""For the runner to make the workspace, which may be a copy of a large tree on a slow disk."""
TOLD_SECS = 15.0
"""For the runner to hear of it, on a machine that is busy."""
STOP_MARGIN_SECS = 3.0
"""From the end of the grace to a result, after which the guest is stopped by force."""
LAST_WORDS_SECS = 1.0
"""For the result of a guest that is over, beside what the way to its host takes."""


class JobGuest(Protocol):
    """A guest in which a runner is at work."""

    @property
    def name(self) -> str:
        """Its name."""

    async def gone(self) -> str:
        """Wait until it doesn't run any more; in words for people, what became of it."""

    async def stop_job(self) -> None:
        """Have the runner end its job; a guest that is gone is no error."""

    def finished(self) -> None:
        """Hear that there is a result, while the rest of the log is read."""


async def wait_for_job(
    guest: JobGuest,
    timeout_secs: float,
    following: AbstractAsyncContextManager[OutboxFollower],
    stop: Stop,
) -> Finish:
    """How a guest's job ended; a guest that gives no result in time is left to be ended."""
    limit = timeout_secs + GRACE_SECS + KILL_SECS + HOST_MARGIN_SECS
    async with following as followed:
        result = asyncio.ensure_future(followed.result())
        gone = asyncio.ensure_future(guest.gone())
        stopped = asyncio.ensure_future(stop.wait())
        started = asyncio.ensure_future(followed.started())
        ends: list[asyncio.Future[Any]] = [result, gone, stopped]
        waits = [*ends, started]
        try:
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait(waits, timeout=SETUP_SECS, return_when=first)
            await asyncio.wait(ends, timeout=limit, return_when=first)
            if result.done():
                found = result.result()
                guest.finished()
                return _finish(found)
            if stopped.done():
                await _end_in_order(guest, result, stop)
                return Finish(exit_code=_code_of(result), stopped=True)
            why = gone.result() if gone.done() else None
            result.cancel()
            return await _last_words(followed) or _silent(guest, why)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


async def _end_in_order(guest: JobGuest, result: asyncio.Future[Any], stop: Stop) -> None:
    """Have the runner end the job, TERM first, unless it is to be killed at once."""
    hasty = asyncio.ensure_future(stop.stop_now.wait())
    told = asyncio.ensure_future(guest.stop_job())
    try:
        first = asyncio.FIRST_COMPLETED
        anything: set[asyncio.Future[Any]] = {result, hasty, told}
        await asyncio.wait(anything, timeout=TOLD_SECS, return_when=first)
        if not (result.done() or hasty.done()):
            limit = GRACE_SECS + STOP_MARGIN_SECS
            await asyncio.wait({result, hasty}, timeout=limit, return_when=first)
    finally:
        for wait in (hasty, told):
            wait.cancel()
        await asyncio.gather(hasty, told, return_exceptions=True)


def _silent(guest: JobGuest, why: str | None) -> Finish:
    """The end of a guest that left no result; `why` it is gone, if it is."""
    if why is None:
        return Finish(exit_code=None, timed_out=True)
    raise InfrastructureError(
        f"guest {guest.name} {why} before its job was over",
        "was it out of memory, or did the job shut it down?",
    )


async def _last_words(followed: OutboxFollower) -> Finish | None:
    """The result of a guest that is gone or late, if it left one."""
    began = time.monotonic()
    # It may have left it long ago, and the host be out of reach.
    await followed.copy_log()
    limit = LAST_WORDS_SECS + 2 * (time.monotonic() - began)
    with suppress(TimeoutError):
        async with asyncio.timeout(limit):
            return _finish(await followed.result())
    return None


def _code_of(result: asyncio.Future[Any]) -> int | None:
    """The exit code of a job that was told to end, if it did."""
    if not result.done() or result.exception():
        return None
    match result.result():
        case {"exit_code": int(code)}:
            return code
        case {"signal": int(number)}:
            return SIGNALLED + number
        case _:
            return None


def _finish(result: dict[str, object]) -> Finish:
    """How the job ended, as its runner says."""
    killed = result.get("oom_kills")
    return replace(
        _end_of(result),
        out_of_memory=isinstance(killed, int) and killed > 0,
        memory_limited=result.get("memory_limited") is not False,
    )


def _end_of(result: dict[str, object]) -> Finish:
    match result:
        case {"status": "passed"}:
            return Finish(exit_code=0)
        case {"status": "failed", "exit_code": int(code)} if code != 0:
            return Finish(exit_code=code)
        case {"status": "failed", "signal": int(number)}:
            return Finish(exit_code=SIGNALLED + number, signal=number)
        case {"status": "timed_out", "exit_code": int(code)}:
            return Finish(exit_code=code, timed_out=True)
        case {"status": "timed_out"}:
            return Finish(exit_code=None, timed_out=True)
        case {"status": "error", "message": str(message)}:
            raise InfrastructureError(f"the job could not be run in its guest: {message}")
        case _:
            raise InfrastructureError("the guest wrote an invalid result.json")
