"""What time alone changes, and what was lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import text

from pika_git.persistence import counters, health
from pika_git.persistence.queue.model import Reason
from pika_git.persistence.queue.reasons import set_reason
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pika_git.persistence.database import Database

KEPT_WAKES_SECS = 3600.0
LOST_AFTER_SECS = 30.0

_DUE = text("""
    SELECT id FROM lane WHERE state IN ('queued', 'running', 'cancelling') AND state = 'queued'
      AND reason = 'not_before' AND not_before <= :now
""")
_COOL = text("SELECT 1 FROM health WHERE closed_until <= :now AND probe_lane_id IS NULL LIMIT 1")
_NEXT = text("""
    SELECT min(not_before) FROM lane WHERE state IN ('queued', 'running', 'cancelling')
      AND state = 'queued' AND reason = 'not_before'
""")
_IDLE = text("""
    SELECT worker.name FROM worker WHERE state = 'active' AND seen_at > :alive
      AND slots > (SELECT count(*) FROM lease WHERE worker_id = worker.id)
""")
_WAITED = text("SELECT count(*) FROM lane WHERE ready = 1 AND enqueued_at < :before")
_FRESH = text("""
    SELECT reason.lane_id FROM lane JOIN reason ON reason.lane_id = lane.id
      AND reason.until IS NULL
    WHERE lane.ready = 1 AND lane.reason = 'queued' AND reason.since < :before
""")
_PLACED = text("""
    SELECT id FROM lane WHERE state IN ('queued', 'running', 'cancelling') AND state = 'queued'
""")
_SET = text("""
    INSERT INTO setting (name, value) VALUES (:name, :value)
    ON CONFLICT (name) DO UPDATE SET value = :value
""")


def look_at_time(connection: Connection, now: float, *, dry: bool = False) -> bool:
    """Let lanes go whose time has come; whether there were any. `dry` only looks."""
    from pika_git.persistence.queue.entry import place_all

    due = connection.execute(_DUE, {"now": now}).scalars().all()
    cool = connection.execute(_COOL, {"now": now}).first() is not None
    if not dry:
        if due:
            place_all(connection, due, now)
        if cool:
            health.due(connection, now)
    return bool(due) or cool


def next_change(database: Database) -> float | None:
    """Seconds until time alone changes something; None if nothing is due."""
    with database.read() as connection:
        found = (connection.execute(_NEXT).scalar_one_or_none(), health.next_due(connection))
        times = [time for time in found if time is not None]
        return max(0.0, min(times) - database.clock(connection)) if times else None


def sweep(database: Database) -> None:
    """Look at everything that should have happened by itself, and count what did not."""
    with database.write() as connection:
        now = database.clock(connection)
        if look_at_time(connection, now):
            wake(connection, "time", now)
        _say_what_is_full(connection, now)
        if connection.execute(_IDLE, {"alive": now - LOST_AFTER_SECS}).first() is not None:
            waited = connection.execute(_WAITED, {"before": now - LOST_AFTER_SECS}).scalar_one()
            if waited:
                counters.count(connection, "lost_wakes")
                wake(connection, "a wake was lost", now)
        old = text("DELETE FROM wake WHERE at < :before")
        connection.execute(old, {"before": now - KEPT_WAKES_SECS})


def _say_what_is_full(connection: Connection, now: float) -> None:
    """Lanes that could go and found no slot for a while wait for capacity."""
    fresh = connection.execute(_FRESH, {"before": now - 1.0}).scalars().all()
    for lane in fresh:
        set_reason(connection, lane, Reason.CAPACITY, now, {"of": "slots"}, ready=True)


def pause(connection: Connection, why: str, now: float) -> None:
    """Let no lane begin."""
    connection.execute(_SET, {"name": "paused", "value": json.dumps(why or True)})
    place_queued(connection, now)


def resume(connection: Connection, now: float) -> None:
    """Let lanes begin again."""
    connection.execute(_SET, {"name": "paused", "value": json.dumps(False)})  # noqa: FBT003
    place_queued(connection, now)
    wake(connection, "resumed", now)


def place_queued(connection: Connection, now: float) -> None:
    """Decide anew what every queued lane waits for."""
    from pika_git.persistence.queue.entry import place_all

    place_all(connection, connection.execute(_PLACED).scalars().all(), now)
