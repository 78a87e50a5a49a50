"""A guest's outbox on a remote host, followed while the guest runs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from jerichoci.machine.outbox import OutboxFollower, follow
from jerichoci.remote.agent.operations import watch_outbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from jerichoci.machine.outbox import OutboxState
    from jerichoci.remote.session import Session


@asynccontextmanager
async def follow_remote_outbox(
    session: Session, outbox: Path, log: Path
) -> AsyncIterator[OutboxFollower]:
    """Follow the guest that has `outbox` on the host as its /artifacts."""

    async def watch(offset: int, wait_secs: float, has_started: bool) -> OutboxState:  # noqa: FBT001 - a `Watch`
        return await session.do(watch_outbox, outbox, offset, wait_secs, has_started=has_started)

    async with follow(watch, log) as follower:
        yield follower
