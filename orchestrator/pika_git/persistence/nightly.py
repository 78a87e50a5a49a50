"""Nightly slots: each is run once or missed, and noted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LAST = text("SELECT max(slot_at) FROM nightly_slot WHERE repo_id = :repo")
_ADD = text("""
    INSERT INTO nightly_slot (repo_id, slot_at, state, run_id, note)
    VALUES (:repo, :slot, :state, :run, :note) ON CONFLICT (repo_id, slot_at) DO NOTHING
""")


def last(connection: Connection, repo: int) -> float | None:
    """The last slot that was noted, in seconds since the epoch."""
    found = connection.execute(_LAST, {"repo": repo}).scalar_one_or_none()
    return None if found is None else float(found)


def note(
    connection: Connection, repo: int, slot: float, run: int | None, why: str | None = None
) -> bool:
    """Note a slot that was run, or missed if there is no run; False if it is noted already."""
    values = {"repo": repo, "slot": slot, "state": "run" if run else "missed", "run": run}
    return connection.execute(_ADD, {**values, "note": why}).rowcount > 0
