"""What the forge counts of its own faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_COUNT = text("""
    INSERT INTO counter (name, value) VALUES (:name, :more)
    ON CONFLICT (name) DO UPDATE SET value = value + :more
""")


def count(connection: Connection, name: str, more: int = 1) -> None:
    """Add to a counter."""
    connection.execute(_COUNT, {"name": name, "more": more})


def values(connection: Connection) -> dict[str, int]:
    """All counters."""
    rows = connection.execute(text("SELECT name, value FROM counter ORDER BY name"))
    return {row[0]: row[1] for row in rows}
