"""The workers: what each has, and whether it takes lanes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import text

from pika_git.persistence.lines import facts, placing
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pika_git.persistence.database import Database

SILENT_SECS = 60.0
"""A worker renews each 15 s, also with nothing to renew; one that is silent for so long is gone."""

_REGISTER = text("""
    INSERT INTO worker (name, host, labels, slots, state, seen_at, started_at)
    VALUES (:name, :host, :labels, :slots, 'active', :now, :now)
    ON CONFLICT (name) DO UPDATE SET host = :host, labels = :labels, slots = :slots,
        state = CASE WHEN drains THEN 'draining' ELSE 'active' END,
        trouble = NULL, seen_at = :now, started_at = :now
    RETURNING id
""")
_LEASES_END = text("UPDATE lease SET expires_at = :now WHERE worker_id = :worker")
_STATE = text("""
    UPDATE worker SET state = :state,
        drains = CASE :state WHEN 'draining' THEN 1 WHEN 'active' THEN 0 ELSE drains END
    WHERE name = :name AND state != :state
""")
_TROUBLE = text("UPDATE worker SET trouble = :trouble WHERE id = :worker")
_SEEN = text("""
    UPDATE worker SET seen_at = :now WHERE id = :worker
""")
_BACK = text("""
    UPDATE worker SET state = CASE WHEN drains THEN 'draining' ELSE 'active' END
    WHERE id = :worker AND state = 'gone'
""")
_ALL_SEEN = text("UPDATE worker SET seen_at = :now WHERE state != 'gone'")
_SILENT = text("SELECT name FROM worker WHERE state != 'gone' AND seen_at < :before")


def register(database: Database, name: str, host: str, labels: frozenset[str], slots: int) -> int:
    """A worker begins; its id. What one of its name had is its own now (`queue.adoptable`).

    Only the process that holds the name's lock may do this. One that drains continues draining.
    """
    with database.write() as connection:
        now = database.clock(connection)
        row = {"name": name, "host": host, "labels": json.dumps(sorted(labels)), "slots": slots}
        worker = int(connection.execute(_REGISTER, {**row, "now": now}).scalar_one())
        connection.execute(_LEASES_END, {"now": now, "worker": worker})
        _place(connection, f"worker {name} began", now)
    return worker


def set_state(connection: Connection, name: str, state: str, now: float) -> bool:
    """Let a worker be `active`, `draining` or `gone`; whether it was another state.

    One that drains does so until it is `active`, also if it is gone meanwhile.
    """
    changed = connection.execute(_STATE, {"name": name, "state": state}).rowcount > 0
    if changed:
        _place(connection, f"worker {name} is {state}", now)
    return changed


def leave(database: Database, name: str) -> None:
    """A worker ends."""
    with database.write() as connection:
        set_state(connection, name, "gone", database.clock(connection))


def set_trouble(database: Database, worker: int, trouble: str | None) -> None:
    """Note what keeps a worker from taking lanes, in a sentence; None if nothing does any more."""
    with database.write() as connection:
        connection.execute(_TROUBLE, {"worker": worker, "trouble": trouble})
        _place(connection, "a worker has trouble", database.clock(connection))


def seen(connection: Connection, worker: int, now: float) -> None:
    """A worker was heard of; one that was taken for gone is back."""
    values = {"worker": worker, "now": now}
    connection.execute(_SEEN, values)
    if connection.execute(_BACK, values).rowcount:
        _place(connection, "a worker is back", now)


def all_seen(connection: Connection, now: float) -> None:
    """Take no worker for gone because the clock jumped."""
    connection.execute(_ALL_SEEN, {"now": now})


def silent(connection: Connection, now: float) -> list[str]:
    """The workers that were not heard of for SILENT_SECS."""
    return list(connection.execute(_SILENT, {"before": now - SILENT_SECS}).scalars())


def _place(connection: Connection, why: str, now: float) -> None:
    placing.place_all(connection, facts.load(connection, now))
    wake(connection, why, now)
