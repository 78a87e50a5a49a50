"""What time alone changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from pika_git.persistence import health
from pika_git.persistence.lines import facts, placing

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pika_git.persistence.database import Database

_DUE = text("SELECT id FROM lane WHERE reason = 'not_before' AND not_before <= :now")
_NEXT = text("SELECT min(not_before) FROM lane WHERE reason = 'not_before'")


def is_time(connection: Connection, now: float) -> bool:
    """Whether time has changed something that was not looked at yet."""
    is_due = connection.execute(_DUE, {"now": now}).first() is not None
    return is_due or health.is_due(connection, now)


def look_at_time(connection: Connection, now: float) -> None:
    """Let lanes go whose time has come."""
    due = connection.execute(_DUE, {"now": now}).scalars().all()
    if due:
        placing.place_lanes(connection, facts.load(connection, now), due)
    health.due(connection, now)


def next_change(database: Database) -> float | None:
    """Seconds until time alone changes something; None if nothing is due."""
    with database.read() as connection:
        found = (connection.execute(_NEXT).scalar_one_or_none(), health.next_due(connection))
        times = [time for time in found if time is not None]
        return max(0.0, min(times) - database.clock(connection)) if times else None
