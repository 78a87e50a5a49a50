"""The workers: what each has, and whether it takes lanes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence import health
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pika_git.persistence.database import Database

_REGISTER = text("""
    INSERT INTO worker (name, host, labels, slots, state, seen_at, started_at)
    VALUES (:name, :host, :labels, :slots, 'active', :now, :now)
    ON CONFLICT (name) DO UPDATE SET host = :host, labels = :labels, slots = :slots,
        state = CASE state WHEN 'draining' THEN state ELSE 'active' END,
        seen_at = :now, started_at = :now
    RETURNING id
""")
_STATE = text("UPDATE worker SET state = :state WHERE name = :name AND state != :state")
_FLEET = text("SELECT host, labels FROM worker WHERE state = 'active'")
_UNFIT = text("""
    SELECT id FROM lane WHERE state IN ('queued', 'running', 'cancelling') AND state = 'queued'
      AND reason IN ('no_host_fits', 'host_unhealthy')
""")
_READY = text("SELECT id FROM lane WHERE ready = 1")


@dataclass(frozen=True)
class Fleet:
    """What the active workers have: (labels, why the host is closed or None)."""

    workers: tuple[tuple[frozenset[str], dict[str, Any] | None], ...]

    def missing(self, labels: frozenset[str]) -> list[str] | None:
        """The labels that the worker which fits best lacks; None if one fits."""
        lacks = [sorted(labels - has) for has, _ in self.workers]
        return min(lacks, key=len, default=["a worker"]) or None

    def closed(self, labels: frozenset[str]) -> dict[str, Any] | None:
        """Why no host that fits is open; None if one is."""
        found = [closed for has, closed in self.workers if labels <= has]
        return None if None in found or not found else found[0]


def fleet(connection: Connection, now: float) -> Fleet:
    """The active workers."""
    rows = connection.execute(_FLEET).all()
    closed = {host: health.closed_host(connection, host, now) for host in {row[0] for row in rows}}
    return Fleet(tuple((parse_labels(labels), closed[host]) for host, labels in rows))


def parse_labels(text_of_labels: str) -> frozenset[str]:
    """Labels as a row has them; a row that is damaged asks for what no worker has."""
    try:
        values = json.loads(text_of_labels)
    except (ValueError, TypeError):
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return frozenset({"a label that can be read"})
    return frozenset(values)


def register(database: Database, name: str, host: str, labels: frozenset[str], slots: int) -> int:
    """A worker begins; its id. What one of its name had is its own now (`queue.adoptable`).

    Only the process that holds the name's lock may do this.
    """
    with database.write() as connection:
        now = database.clock(connection)
        row = {"name": name, "host": host, "labels": json.dumps(sorted(labels)), "slots": slots}
        worker = int(connection.execute(_REGISTER, {**row, "now": now}).scalar_one())
        connection.execute(
            text("UPDATE lease SET expires_at = :now WHERE worker_id = :worker"),
            {"now": now, "worker": worker},
        )
        look_again(connection, now)
        wake(connection, f"worker {name} began", now)
    return worker


def set_state(connection: Connection, name: str, state: str, now: float) -> bool:
    """Let a worker be `active`, `draining` or `gone`; whether it was another state."""
    changed = connection.execute(_STATE, {"name": name, "state": state}).rowcount > 0
    if changed:
        look_again(connection, now)
        wake(connection, f"worker {name} is {state}", now)
    return changed


def leave(database: Database, name: str) -> None:
    """A worker ends."""
    with database.write() as connection:
        set_state(connection, name, "gone", database.clock(connection))


def look_again(connection: Connection, now: float) -> None:
    """Decide anew what lanes wait for that a change of the workers concerns."""
    from pika_git.persistence.queue.entry import place_all

    ids = [*connection.execute(_UNFIT).scalars(), *connection.execute(_READY).scalars()]
    place_all(connection, ids, now)
