"""Queueing lanes, and deciding what each queued one waits for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence import health, workers
from pika_git.persistence.queue.model import Reason
from pika_git.persistence.queue.reasons import set_reason
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Row

    from pika_git.persistence.queue.model import NewLane

_RUN = text("SELECT repo_id, ref FROM ci_run WHERE id = :run")
_LABEL_SET = text("INSERT INTO label_set (labels) VALUES (:labels) ON CONFLICT DO NOTHING")
_LABEL_SET_ID = text("SELECT id FROM label_set WHERE labels = :labels")
_TURN = text("""
    SELECT max(turn + (repo_id != 0)) FROM turn
    WHERE class = :class AND ((repo_id = :repo AND ref = :ref) OR (repo_id = 0 AND ref = ''))
""")
SET_TURN = text("""
    INSERT INTO turn (class, repo_id, ref, turn) VALUES (:class, :repo, :ref, :turn)
    ON CONFLICT (class, repo_id, ref) DO UPDATE SET turn = max(turn, excluded.turn)
""")
_INSERT = text("""
    INSERT INTO lane (run_id, repo_id, ref, name, title, target, class, group_name, label_set_id,
        required, why, plan_path, plan_digest, state, turn, enqueued_at, not_before, rerun_of)
    VALUES (:run, :repo, :ref, :name, :title, :target, :class, :group_name, :label_set,
        :required, :why, :plan_path, :plan_digest, 'queued', :turn, :now, :not_before, :rerun_of)
    RETURNING id
""")
_LANE = text("""
    SELECT lane.id, lane.repo_id, lane.target, lane.group_name, lane.not_before, lane.enqueued_at,
        label_set.labels, repo.paused
    FROM lane JOIN label_set ON label_set.id = lane.label_set_id JOIN repo ON repo.id = lane.repo_id
    WHERE lane.id = :lane AND lane.state = 'queued'
""")
_HOLDER = text("""
    SELECT id FROM lane
    WHERE repo_id = :repo AND group_name = :group AND state IN ('running', 'cancelling')
""")
_HEAD = text("""
    SELECT id, enqueued_at FROM lane
    WHERE repo_id = :repo AND group_name = :group AND ready = 1 AND id != :lane
""")
_NEXT_IN_LINE = text("""
    SELECT id FROM lane
    WHERE repo_id = :repo AND group_name = :group AND state IN ('queued', 'running', 'cancelling')
      AND state = 'queued' AND reason = 'blocked_by_concurrency_group'
    ORDER BY enqueued_at, id LIMIT 1
""")
_PAUSED = text("SELECT value FROM setting WHERE name = 'paused'")


def enqueue(connection: Connection, run_id: int, lanes: Sequence[NewLane], now: float) -> list[int]:
    """Queue the lanes of a run; their ids."""
    repo, ref = connection.execute(_RUN, {"run": run_id}).one()
    ids = [_insert(connection, run_id, repo, ref, lane, now) for lane in lanes]
    place_all(connection, ids, now)
    wake(connection, f"lanes of run {run_id} queued", now)
    return ids


def _insert(
    connection: Connection, run_id: int, repo: int, ref: str, lane: NewLane, now: float
) -> int:
    labels = {"labels": json.dumps(sorted(set(lane.labels)))}
    connection.execute(_LABEL_SET, labels)
    line = {"class": lane.klass, "repo": repo, "ref": ref}
    turn = connection.execute(_TURN, line).scalar() or 0
    connection.execute(SET_TURN, {**line, "turn": turn})
    values: dict[str, Any] = {
        **{name: value for name, value in vars(lane).items() if name not in {"klass", "labels"}},
        **line,
        "run": run_id,
        "label_set": connection.execute(_LABEL_SET_ID, labels).scalar_one(),
        "turn": turn,
        "now": now,
    }
    return int(connection.execute(_INSERT, values).scalar_one())


def place_all(connection: Connection, lanes: Iterable[int], now: float) -> None:
    """Decide anew what each of these queued lanes waits for."""
    fleet = workers.fleet(connection, now)
    for lane in lanes:
        place(connection, lane, now, fleet)


def place(
    connection: Connection, lane: int, now: float, fleet: workers.Fleet | None = None
) -> None:
    """Decide what a queued lane waits for: what keeps it from standing in line, else the line."""
    row = connection.execute(_LANE, {"lane": lane}).one_or_none()
    if row is None:
        return
    kept = _kept_out(connection, row, now, fleet or workers.fleet(connection, now))
    if kept is not None:
        leave_line(connection, row, now)
        set_reason(connection, lane, kept[0], now, kept[1])
        return
    if row.group_name is not None and not _may_head(connection, row, now):
        set_reason(connection, lane, Reason.GROUP, now, {"group": row.group_name})
        return
    set_reason(connection, lane, Reason.QUEUED, now, ready=True)


def _kept_out(
    connection: Connection, row: Row[Any], now: float, fleet: workers.Fleet
) -> tuple[Reason, dict[str, Any]] | None:
    if row.not_before is not None and row.not_before > now:
        return Reason.NOT_BEFORE, {"until": row.not_before}
    if connection.execute(_PAUSED).scalar_one_or_none() not in {None, "false"}:
        return Reason.PAUSED, {"what": "forge"}
    if row.paused:
        return Reason.PAUSED, {"what": "repository"}
    labels = workers.parse_labels(row.labels)
    if (missing := fleet.missing(labels)) is not None:
        return Reason.NO_HOST_FITS, {"missing": missing}
    if (closed := fleet.closed(labels)) is not None:
        return Reason.HOST_UNHEALTHY, closed
    closed = health.closed_target(connection, row.repo_id, row.target, row.id, now)
    return None if closed is None else (Reason.TARGET_UNHEALTHY, closed)


def _may_head(connection: Connection, row: Row[Any], now: float) -> bool:
    """Whether a lane that waits for nothing else is the first in its group's line."""
    line = {"repo": row.repo_id, "group": row.group_name, "lane": row.id}
    if connection.execute(_HOLDER, line).first() is not None:
        return False
    head = connection.execute(_HEAD, line).one_or_none()
    first = connection.execute(_NEXT_IN_LINE, line).scalar_one_or_none()
    if head is not None:
        if (head.enqueued_at, head.id) < (row.enqueued_at, row.id):
            return False
        set_reason(connection, head.id, Reason.GROUP, now, {"group": row.group_name})
        return True
    if first is not None and first != row.id:
        earlier = connection.execute(_LANE, {"lane": first}).one()
        if (earlier.enqueued_at, earlier.id) < (row.enqueued_at, row.id):
            set_reason(connection, first, Reason.QUEUED, now, ready=True)
            return False
    return True


def leave_line(connection: Connection, row: Row[Any], now: float) -> None:
    """A lane no longer stands in its group's line, or gives the group back: the next one may."""
    if row.group_name is None:
        return
    line = {"repo": row.repo_id, "group": row.group_name, "lane": row.id}
    connection.execute(text("UPDATE lane SET ready = 0 WHERE id = :lane"), line)
    advance(connection, row.repo_id, row.group_name, now)


def advance(connection: Connection, repo: int, group: str, now: float) -> None:
    """Let the first in a group's line be ready, if the group is free and none is."""
    line = {"repo": repo, "group": group, "lane": 0}
    if connection.execute(_HOLDER, line).first() or connection.execute(_HEAD, line).first():
        return
    first = connection.execute(_NEXT_IN_LINE, line).scalar_one_or_none()
    if first is not None:
        set_reason(connection, first, Reason.QUEUED, now, ready=True)
        wake(connection, f"group {group} is free", now)
