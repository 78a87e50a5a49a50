"""A program on a remote host; what it prints comes here while it runs."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from jerichoci.remote.agent import agent_operations as host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from jerichoci.machine.ending import Ending
    from jerichoci.placement.program import Program
    from jerichoci.remote.requests import Held
    from jerichoci.remote.session import Session

WATCH_SECS = 30.0
"""How long the agent waits for a log to grow before it is asked again."""


class FarProcess:
    """A started program, by its handle."""

    def __init__(self, session: Session, held: Held, far_log: Path, log: Path) -> None:
        self._session = session
        self._held = held
        self._handle = held.handle
        self._far_log = far_log
        self._log = log
        self._offset = 0
        self._end: int | None = None
        """How long the log is, when it is complete."""
        self._following = asyncio.create_task(self._follow())

    async def wait(self) -> Ending:
        ended = await self._session.do(host.wait, self._handle, self._far_log)
        self._end = ended.log_bytes
        if self._is_behind():
            # If this is cancelled, `close` ends it.
            await asyncio.shield(self._following)
        self._held.is_over = True
        return ended.ending

    async def ended_within(self, secs: float) -> bool:
        """As the host's own clock has it."""
        return await self._session.do(host.ended_within, self._handle, secs)

    def terminate(self) -> None:
        self._session.post(host.terminate, self._handle)

    def kill(self) -> None:
        self._session.post(host.kill, self._handle)

    async def close(self) -> None:
        """Follow no longer."""
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)

    def _is_behind(self) -> bool:
        return self._end is None or self._offset < self._end

    async def _follow(self) -> None:
        while self._is_behind():
            is_whole = self._end is not None
            data = await self._session.do(
                host.read_log, self._far_log, self._offset, wait_secs=WATCH_SECS
            )
            if data:
                # Written and counted in one step: a cancel comes before or after.
                _append(self._log, data)
                self._offset += len(data)
            elif is_whole:
                # The log was made shorter.
                return


@asynccontextmanager
async def far_process(session: Session, program: Program) -> AsyncIterator[FarProcess]:
    """Start a program on a session's host; it is killed when the block ends."""
    far_log = program.notes / "output"
    async with session.hold(host.spawn, replace(program, log=far_log)) as held:
        running = FarProcess(session, held, far_log, program.log)
        try:
            yield running
        finally:
            await running.close()


def _append(log: Path, data: bytes) -> None:
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
