"""A guest's outbox on a remote host, followed while the guest runs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from jerichoci.machine.outbox import OutboxFollower, OutboxState, follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from jerichoci.remote.session import Session


@asynccontextmanager
async def follow_remote_outbox(
    session: Session, outbox: Path, log: Path
) -> AsyncIterator[OutboxFollower]:
    """Follow the guest that has `outbox` on the host as its /artifacts."""

    async def watch(offset: int, wait_secs: float, has_started: bool) -> OutboxState:  # noqa: FBT001 - a `Watch`
        answer, data = await session.call(
            "watch_outbox",
            path=str(outbox),
            offset=offset,
            wait_secs=wait_secs,
            has_started=has_started,
        )
        size = answer["result_bytes"]
        result = None if size is None else data[:size]
        return OutboxState(result, answer["started"], data[size or 0 :])

    async with follow(watch, log) as follower:
        yield follower
