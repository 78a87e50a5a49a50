"""Lanes that come to a terminal state, and runs, whose state follows from their lanes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence.lines.reason import stop_waiting
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from sqlalchemy import Connection

TERMINAL = ("success", "failed", "skipped", "cancelled")

_END = text("""
    UPDATE lane SET state = :state, finished_at = :now, failure_kind = :kind, cause = :cause
    WHERE id = :lane
""")
_IS_OPEN = text("""
    SELECT 1 FROM lane WHERE run_id = :run AND state IN ('queued', 'running', 'cancelling') LIMIT 1
""")
_STATES = text("SELECT DISTINCT state FROM lane WHERE run_id = :run")
_RUN_IS = text("""
    UPDATE ci_run SET state = :state, finished_at = :now
    WHERE id = :run AND (state != :state OR (finished_at IS NULL) != (:now IS NULL))
""")
_RUN_IS_OPEN = text("""
    UPDATE ci_run SET state = 'running', finished_at = NULL
    WHERE id = :run AND state NOT IN ('queued', 'running')
""")


def end(
    connection: Connection,
    lane: int,
    run: int,
    state: str,
    now: float,
    kind: str | None = None,
    cause: dict[str, Any] | None = None,
) -> None:
    """Bring a lane to a terminal state. The line it stood in is the caller's to settle."""
    stop_waiting(connection, lane, now)
    written = None if cause is None else json.dumps(cause)
    values = {"lane": lane, "state": state, "now": now, "kind": kind, "cause": written}
    connection.execute(_END, values)
    settle_run(connection, run, now)
    wake(connection, f"lane {lane} ended", now)


def settle_run(connection: Connection, run: int, now: float) -> None:
    """Let a run have the state that follows from its lanes; one without lanes keeps its own."""
    if connection.execute(_IS_OPEN, {"run": run}).first() is not None:
        connection.execute(_RUN_IS_OPEN, {"run": run})
        return
    states = set(connection.execute(_STATES, {"run": run}).scalars())
    if states:
        order = ("failed", "cancelled", "success")
        state = next((each for each in order if each in states), "skipped")
        connection.execute(_RUN_IS, {"run": run, "state": state, "now": now})
