"""The queue: what waits, what runs, and on which workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

FIRST = (-1, -9e99, 0)
"""The cursor before which no lane comes."""

_WAITING = text("""
    WITH page AS (
        SELECT id, class, enqueued_at FROM lane
        WHERE state = 'queued' AND (class, enqueued_at, id) > (:class, :at, :id)
        ORDER BY class, enqueued_at, id LIMIT :limit
    )
    SELECT lane.*, lane.class AS klass, repo.name AS repo, reason.code, reason.detail, reason.since,
        holder.id AS holder_id, holder.run_id AS holder_run, holder.ref AS holder_ref,
        holder.name AS holder_name, holder.started_at AS holder_since
    FROM page JOIN lane ON lane.id = page.id LEFT JOIN repo ON repo.id = lane.repo_id
    LEFT JOIN reason ON reason.lane_id = lane.id AND reason.until IS NULL
    LEFT JOIN lane AS holder ON holder.repo_id = lane.repo_id
        AND holder.group_name = lane.group_name AND holder.state IN ('running', 'cancelling')
        AND lane.group_name IS NOT NULL
    ORDER BY page.class, page.enqueued_at, page.id
""")
_COUNTS = text("""
    SELECT reason AS code, count(*) AS lanes FROM lane
    WHERE state IN ('queued', 'running', 'cancelling') AND reason > '' GROUP BY reason
""")  # by lane_active alone: only a queued lane has a reason
_RUNNING = text("""
    SELECT lane.*, repo.name AS repo, worker.name AS worker, attempt.host, attempt.number,
        attempt.started_at AS begun_at, attempt.claimed_at, lease.expires_at AS lease_expires_at,
        lease.progress_at
    FROM lane LEFT JOIN repo ON repo.id = lane.repo_id
    LEFT JOIN lease ON lease.lane_id = lane.id LEFT JOIN worker ON worker.id = lease.worker_id
    LEFT JOIN attempt ON attempt.id = (
        SELECT max(id) FROM attempt AS last WHERE last.lane_id = lane.id)
    WHERE lane.state IN ('queued', 'running', 'cancelling')
      AND lane.state IN ('running', 'cancelling')
    ORDER BY lane.id LIMIT :limit
""")
_WORKERS = text("""
    SELECT worker.*, (SELECT count(*) FROM lease WHERE lease.worker_id = worker.id) AS busy
    FROM worker ORDER BY state = 'gone', name LIMIT :limit
""")
_SETTING = text("SELECT value FROM setting WHERE name = :name")


def waiting(
    connection: Connection, cursor: tuple[int, float, int], limit: int
) -> Sequence[Row[Any]]:
    """Lanes that wait, by class and arrival, with their reason and who holds their group."""
    values = {"class": cursor[0], "at": cursor[1], "id": cursor[2], "limit": limit}
    return connection.execute(_WAITING, values).all()


def counts(connection: Connection) -> Sequence[Row[Any]]:
    """(code, lanes): how many wait for what."""
    return connection.execute(_COUNTS).all()


def running(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    """Lanes that run, with worker, host and last attempt."""
    return connection.execute(_RUNNING, {"limit": limit}).all()


def workers(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    """The workers with how many lanes each has, those that are gone last."""
    return connection.execute(_WORKERS, {"limit": limit}).all()


def setting(connection: Connection, name: str) -> object:
    """A setting of the whole forge, as JSON text."""
    return connection.execute(_SETTING, {"name": name}).scalar_one_or_none()
