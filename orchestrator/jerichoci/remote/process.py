"""A program on a remote host; what it prints comes here while it runs."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from jerichoci.machine.ending import Ending
from jerichoci.machine.process import Completed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from jerichoci.remote.session import Held, Session

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
        """Wait for the end, and for what was printed to be here."""
        ended = await self._session.value("wait", handle=self._handle, log=str(self._far_log))
        self._end = int(ended["log_bytes"])
        if self._is_behind():
            # Whoever waits no longer leaves it to `close`.
            await asyncio.shield(self._following)
        self._held.is_over = True
        return Ending(
            int(ended["exit_code"]), ended["signal"], ended["started"], ended["out_of_memory"]
        )

    async def ended_within(self, secs: float) -> bool:
        """As the host's own clock has it."""
        found = await self._session.value("ended_within", handle=self._handle, secs=secs)
        return bool(found)

    def terminate(self) -> None:
        """TERM."""
        self._session.post("terminate", handle=self._handle)

    def kill(self) -> None:
        """KILL."""
        self._session.post("kill", handle=self._handle)

    async def close(self) -> None:
        """Follow no longer."""
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)

    def _is_behind(self) -> bool:
        return self._end is None or self._offset < self._end

    async def _follow(self) -> None:
        while self._is_behind():
            is_whole = self._end is not None
            _, data = await self._session.call(
                "read_log", path=str(self._far_log), offset=self._offset, wait_secs=WATCH_SECS
            )
            if data:
                # Written and counted in one step: whoever cancels comes before or after.
                _append(self._log, data)
                self._offset += len(data)
            elif is_whole:
                # Somebody has made it shorter.
                return


async def far_run(
    session: Session, argv: Sequence[str], deadline_secs: float, cwd: Path | None = None
) -> Completed:
    """Run a command on a session's host to its end.

    Raises:
        InfrastructureError: it can't be started, does not end in time, or the host was lost.
    """
    where = str(cwd) if cwd else None
    answer, data = await session.call(
        "run", argv=list(argv), deadline_secs=deadline_secs, cwd=where
    )
    split = answer["stdout_bytes"]
    return Completed(tuple(argv), answer["exit_code"], data[:split], data[split:])


@asynccontextmanager
async def far_process(  # noqa: PLR0913 - what a process needs
    session: Session,
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    notes: Path,
    memory_mib: int | None = None,
) -> AsyncIterator[FarProcess]:
    """Start a program on a session's host; it is killed when the block ends.

    Raises:
        InfrastructureError: it can't be started, or the host was lost.
    """
    far_log = notes / "output"
    starting = session.holding(
        "spawn",
        argv=list(argv),
        cwd=str(cwd),
        env=dict(env),
        log=str(far_log),
        notes=str(notes),
        memory_mib=memory_mib,
    )
    async with starting as held:
        running = FarProcess(session, held, far_log, log)
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
