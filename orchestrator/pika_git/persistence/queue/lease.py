"""Keeping a lane while its run lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from pika_git.persistence.queue.model import LEASE_SECS, Renewal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pika_git.persistence.database import Database

_RENEW = text("""
    UPDATE lease SET expires_at = :expires,
        progress_at = CASE WHEN :progress > progress THEN :now ELSE progress_at END,
        progress = max(progress, :progress)
    WHERE lane_id = :lane AND token = :token AND worker_id = :worker
""")
_CANCELLING = text("SELECT state = 'cancelling' FROM lane WHERE id = :lane AND token = :token")
_STARTED = text("""
    UPDATE attempt SET started_at = coalesce(started_at, :now)
    WHERE lane_id = :lane AND token = :token
""")


def renew(database: Database, worker: int, lanes: Mapping[int, tuple[int, int]]) -> Renewal:
    """Keep these lanes for LEASE_SECS more: {lane: (token, last event's seq or -1)}."""
    lost, cancelling = set(), set()
    with database.write() as connection:
        now = database.clock(connection)
        connection.execute(
            text("UPDATE worker SET seen_at = :now WHERE id = :worker"),
            {"now": now, "worker": worker},
        )
        for lane, (token, progress) in lanes.items():
            values = {"lane": lane, "token": token, "worker": worker, "progress": progress}
            kept = connection.execute(
                _RENEW, {**values, "now": now, "expires": now + LEASE_SECS}
            ).rowcount
            if not kept:
                lost.add(lane)
            elif connection.execute(_CANCELLING, values).scalar_one_or_none():
                cancelling.add(lane)
    return Renewal(frozenset(lost), frozenset(cancelling))


def started(database: Database, lane: int, token: int) -> bool:
    """The run of the lane has begun; False if the lane is another worker's by now."""
    with database.write() as connection:
        values = {"lane": lane, "token": token, "now": database.clock(connection)}
        return connection.execute(_STARTED, values).rowcount > 0
