"""A job in a guest of its own, whatever the guest is: its note, its end, and what it leaves."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError
from jerichoci.machine.ending import SIGNALLED
from jerichoci.machine.gather import first_done, meanwhile
from jerichoci.placement import Placement, operations
from jerichoci.runtime import Attempt, Finish
from jerichoci.state.layout import make_private
from jerichoci.state.ledger import GuestLedger, GuestNote
from jerichoci.state.retention import KEEP_SECS

if TYPE_CHECKING:
    from collections.abc import Callable

    from jerichoci.machine.artifacts import Artifact
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


class JobGuest(ABC):
    """The guest `name` of an attempt, which `notes` tell of while it may be there."""

    def __init__(
        self, placement: Placement, attempt: Attempt, name: str, notes: GuestLedger
    ) -> None:
        self.name = name
        self.execution: dict[str, Any] = {}
        self._placement = placement
        self._attempt = attempt
        self._execute = attempt.execute
        self._config = attempt.node.runtime_config
        self._outbox = attempt.scratch / "artifacts"
        self._notes = notes
        self._note: GuestNote | None = None

    @abstractmethod
    async def gone(self) -> str:
        """Wait until it doesn't run any more; in words for people, what became of it."""

    @abstractmethod
    async def stop_job(self) -> None:
        """Have the runner end its job; a guest that is gone is no error."""

    @abstractmethod
    def finished(self) -> None:
        """Hear that there is a result, while the rest of the log is read."""

    async def wait(self, stop: Stop) -> Finish:
        """Wait for the job's result; a guest that never gives one is ended by the host."""
        log = self._attempt.directory / "guest.log"
        following = self._placement.following(self._outbox, log)
        return await wait_for_job(self, self._execute.timeout_secs, following, stop)

    async def collect(self, is_over: Callable[[], bool]) -> list[Artifact]:
        """Take what the guest left."""
        into = self._attempt.artifacts.parent
        return await self._placement.collect(self._outbox, into, is_over, self._attempt.admission)

    async def _make_outbox(self) -> None:
        await self._placement.do(operations.make_outbox, self._outbox)
        make_private(self._attempt.artifacts.parent)

    def _write_note(self, socket: str = "", project: str = "") -> None:
        """Note the guest, before it is made."""
        self._note = self._note_for(self.name, socket, project)
        self._notes.write(self._note)

    def _note_for(self, name: str, socket: str = "", project: str = "") -> GuestNote:
        return GuestNote(
            name=name,
            run_id=self._attempt.run_id,
            job_id=self._attempt.node.job_id,
            host=self._placement.host if self._placement.is_remote else None,
            socket=socket,
            project=project,
        )

    def _note_kept(self, note: GuestNote, until: float) -> None:
        self._notes.change(note, kept_until=until)
        self.execution["kept_until"] = until

    async def _leave(self, *, kept: bool) -> None:
        """Remove what the host has for the guest, or have its files kept, too."""
        if kept:
            await self._placement.keep(self._attempt.scratch)
        else:
            await self._placement.do(operations.remove, self._attempt.scratch)

    def _took(self, what: str, began: float) -> None:
        self.execution[what] = round((time.monotonic() - began) * 1000)


def kept_until() -> float:
    """Until when a guest is kept that is kept from now on."""
    return time.time() + KEEP_SECS


async def wait_for_job(
    guest: JobGuest,
    timeout_secs: float,
    following: AbstractAsyncContextManager[OutboxFollower],
    stop: Stop,
) -> Finish:
    """How a guest's job ended; a guest that gives no result in time is left to be ended."""
    limit = timeout_secs + GRACE_SECS + KILL_SECS + HOST_MARGIN_SECS
    async with following as followed:
        ends = followed.result(), guest.gone(), stop.wait()
        async with meanwhile(*ends, followed.started()) as (result, gone, stopped, started):
            await first_done(result, gone, stopped, started, secs=SETUP_SECS)
            await first_done(result, gone, stopped, secs=limit)
            if result.done():
                found = result.result()
                guest.finished()
                return finish_of(found)
            if stopped.done():
                await _end_in_order(guest, result, stop)
                return Finish(exit_code=_code_of(result), stopped=True)
            why = gone.result() if gone.done() else None
            result.cancel()
            return await _last_words(followed) or _silent(guest, why)


async def _end_in_order(guest: JobGuest, result: asyncio.Future[Any], stop: Stop) -> None:
    """Have the runner end the job, TERM first, unless it is to be killed at once."""
    async with meanwhile(stop.stop_now.wait(), guest.stop_job()) as (hasty, told):
        await first_done(result, hasty, told, secs=TOLD_SECS)
        if not (result.done() or hasty.done()):
            await first_done(result, hasty, secs=GRACE_SECS + STOP_MARGIN_SECS)


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
            return finish_of(await followed.result())
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


def finish_of(result: dict[str, object]) -> Finish:
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
