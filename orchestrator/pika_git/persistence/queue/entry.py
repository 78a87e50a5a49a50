"""Queueing lanes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence.lines import facts, leaving, placing
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from pika_git.persistence.lines.facts import Facts
    from pika_git.persistence.queue.model import NewLane

_RUN = text("SELECT repo_id, ref FROM ci_run WHERE id = :run")
_RUN_WAITS = text("UPDATE ci_run SET state = 'queued' WHERE id = :run AND state = 'planning'")
_LABEL_SET = text("INSERT INTO label_set (labels) VALUES (:labels) ON CONFLICT DO NOTHING")
_LABEL_SET_ID = text("SELECT id FROM label_set WHERE labels = :labels")
_INSERT = text("""
    INSERT INTO lane (run_id, repo_id, ref, name, title, target, class, group_name, label_set_id,
        required, why, plan_path, plan_digest, state, enqueued_at, not_before, rerun_of)
    VALUES (:run, :repo, :ref, :name, :title, :target, :class, :group_name, :label_set,
        :required, :why, :plan_path, :plan_digest, 'queued', :now, :not_before, :rerun_of)
    RETURNING id
""")
_WAITS_AGAIN = text("""
    UPDATE lane SET state = 'queued', finished_at = NULL, failure_kind = NULL, cause = NULL,
        cancel_by = NULL, cancel_reason = NULL
    WHERE id = :lane
""")
_RECOVERED = text("""
    UPDATE reason SET code = 'stale_recovered', detail = :detail
    WHERE lane_id = :lane AND until IS NULL
""")
_MARK_RECOVERED = text("""
    UPDATE lane SET reason = 'stale_recovered' WHERE id = :lane AND ready = 1 RETURNING id
""")


def enqueue(connection: Connection, run_id: int, lanes: Sequence[NewLane], now: float) -> list[int]:
    """Queue the lanes of a run; their ids."""
    repo, ref = connection.execute(_RUN, {"run": run_id}).one()
    ids = [_insert(connection, run_id, repo, ref, lane, now) for lane in lanes]
    if ids:
        connection.execute(_RUN_WAITS, {"run": run_id})
        placing.place_lanes(connection, facts.load(connection, now), ids)
        wake(connection, f"lanes of run {run_id} are queued", now)
    return ids


def _insert(
    connection: Connection, run_id: int, repo: int, ref: str, lane: NewLane, now: float
) -> int:
    labels = {"labels": json.dumps(sorted(set(lane.labels)))}
    connection.execute(_LABEL_SET, labels)
    values: dict[str, Any] = {
        **{name: value for name, value in vars(lane).items() if name not in {"klass", "labels"}},
        "class": lane.klass,
        "run": run_id,
        "repo": repo,
        "ref": ref,
        "label_set": connection.execute(_LABEL_SET_ID, labels).scalar_one(),
        "now": now,
    }
    return int(connection.execute(_INSERT, values).scalar_one())


def back_to_queue(
    connection: Connection, found: Facts, lane: int, run: int, recovered: str | None = None
) -> None:
    """Let a lane wait again, in its old place of the order; `recovered` says from what."""
    connection.execute(_WAITS_AGAIN, {"lane": lane})
    placing.place_lanes(connection, found, [lane])
    if recovered and connection.execute(_MARK_RECOVERED, {"lane": lane}).first() is not None:
        detail = json.dumps({"why": recovered})
        connection.execute(_RECOVERED, {"lane": lane, "detail": detail})
    leaving.settle_run(connection, run, found.now)
    wake(connection, f"lane {lane} is queued again", found.now)
