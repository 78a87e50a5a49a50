"""Refs take turns: for each, its first ready lane, so that a claim looks at no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Row

_SETTLE = text("""
    INSERT INTO turn (label_set_id, class, repo_id, ref, lane_id, enqueued_at, served)
    SELECT :labels, :class, :repo, :ref, first.id, first.enqueued_at,
        coalesce((SELECT max(served) FROM turn WHERE repo_id = :repo AND ref = :ref), 0)
    FROM (SELECT 1) LEFT JOIN (
        SELECT id, enqueued_at FROM lane
        WHERE label_set_id = :labels AND class = :class AND repo_id = :repo AND ref = :ref
          AND ready = 1
        ORDER BY enqueued_at, id LIMIT 1) AS first
    WHERE true
    ON CONFLICT (label_set_id, class, repo_id, ref) DO UPDATE SET
        lane_id = excluded.lane_id, enqueued_at = excluded.enqueued_at
""")
_OF_LANE = text("""
    SELECT label_set_id, class AS klass, repo_id, ref FROM turn WHERE lane_id = :lane
""")
_WRONG = text("""
    SELECT DISTINCT lane.label_set_id, lane.class AS klass, lane.repo_id, lane.ref
    FROM lane LEFT JOIN turn ON turn.label_set_id = lane.label_set_id AND turn.class = lane.class
      AND turn.repo_id = lane.repo_id AND turn.ref = lane.ref
    LEFT JOIN lane AS first ON first.id = turn.lane_id AND first.ready = 1
    WHERE lane.ready = 1
      AND (first.id IS NULL OR (lane.enqueued_at, lane.id) < (first.enqueued_at, first.id))
""")
_SERVED = text("UPDATE turn SET served = :attempt WHERE repo_id = :repo AND ref = :ref")


def settle(connection: Connection, lanes: Iterable[Row[Any]]) -> None:
    """Find the first ready lane of each ref that these lanes are of."""
    keys = {(row.label_set_id, row.klass, row.repo_id, row.ref) for row in lanes}
    values = [dict(zip(("labels", "class", "repo", "ref"), key, strict=True)) for key in keys]
    if values:
        connection.execute(_SETTLE, values)


def served(connection: Connection, repo: int, ref: str, attempt: int) -> None:
    """A ref had its turn: the others are before it now."""
    connection.execute(_SERVED, {"repo": repo, "ref": ref, "attempt": attempt})


def repair_all(connection: Connection) -> int:
    """Find the first ready lane of each ref whose turn is wrong; how many there were."""
    rows = connection.execute(_WRONG).all()
    settle(connection, rows)
    return len(rows)


def repair(connection: Connection, lane: int) -> None:
    """A lane is first of its ref and can't be claimed: its row was changed by hand."""
    query = text("UPDATE lane SET ready = 0 WHERE id = :lane AND state != 'queued'")
    connection.execute(query, {"lane": lane})
    settle(connection, connection.execute(_OF_LANE, {"lane": lane}).all())
