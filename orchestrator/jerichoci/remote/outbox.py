"""What a guest on a remote host leaves, while it runs."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine.outbox import parse_result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from jerichoci.remote.session import Session

WATCH_SECS = 30.0
"""How long the agent waits for something new before it is asked again."""


class FarFollowing:
    """The growth of a guest's log, copied into ours, and the result when it is there."""

    def __init__(self, session: Session, outbox: Path, log: int) -> None:
        self._session = session
        self._outbox = outbox
        self._log = log
        self._offset = 0
        self._started = asyncio.Event()
        self._looking = asyncio.Lock()

    async def result(self) -> dict[str, object]:
        """Wait for the result; the log is complete then.

        Raises:
            InfrastructureError: it is none, or the host was lost.
        """
        while True:
            result, grew = await self._look(WATCH_SECS)
            if result is not None and not grew:
                return parse_result(result)

    async def started(self) -> None:
        """Wait until the job's command has begun; somebody must wait for the result, too."""
        await self._started.wait()

    async def carry(self) -> bool:
        """Copy what the log has grown by; whether it has."""
        return (await self._look(0.0))[1]

    async def _look(self, wait_secs: float) -> tuple[bytes | None, bool]:
        async with self._looking:
            answer, data = await self._session.call(
                "watch_outbox",
                path=str(self._outbox),
                offset=self._offset,
                wait_secs=wait_secs,
                has_started=self._started.is_set(),
            )
            if answer["started"]:
                self._started.set()
            size = answer["result_bytes"]
            log = memoryview(data)[size or 0 :]
            self._offset += len(log)
            grew = bool(log)
            while log:
                log = log[os.write(self._log, log) :]
            return (None if size is None else data[:size]), grew


@asynccontextmanager
async def following(session: Session, outbox: Path, log: Path) -> AsyncIterator[FarFollowing]:
    """Follow the guest that has `outbox` there as its /artifacts; its log goes to `log` here."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        followed = FarFollowing(session, outbox, file)
        yield followed
        with suppress(InfrastructureError):
            while await followed.carry():
                pass
    finally:
        os.close(file)
