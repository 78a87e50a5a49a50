"""Targets and hosts that fail by infrastructure or timeout are closed for a while.

Two failures in a row close a target: for a minute, then twice as long each time, up to an hour.
When that is over one lane, the probe, tries it; its success opens the target, its failure closes
it again. Five targets that fail in a row on one host close the host instead, and those targets are
open again. Tests that fail say nothing against a target's health, nor do cancelled lanes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

FAILURES_TO_CLOSE = 2
TARGETS_TO_CLOSE_HOST = 5
FIRST_COOL_OFF_SECS = 60.0
MOST_COOL_OFF_SECS = 3600.0

_GET = text("""
    SELECT * FROM health
    WHERE coalesce(repo_id, 0) = :repo AND kind = :kind AND name = :name
""")
_ADD = text("""
    INSERT INTO health (repo_id, kind, name, updated_at) VALUES (:repo_or_null, :kind, :name, :now)
    RETURNING *
""")
_SET = text("""
    UPDATE health SET failures = :failures, cool_off_secs = :cool_off_secs,
        closed_until = :closed_until, probe_lane_id = NULL, why = :why,
        failing_targets = :failing_targets, updated_at = :now
    WHERE id = :id
""")
_PROBE = text("UPDATE health SET probe_lane_id = :lane WHERE id = :id")
_EVENT = text("""
    INSERT INTO health_event (health_id, at, what, lane_id, why)
    VALUES (:id, :now, :what, :lane, :why)
""")
_DUE = text("""
    SELECT * FROM health WHERE closed_until <= :now AND probe_lane_id IS NULL
""")
_WAITING_FOR_TARGET = text("""
    SELECT id FROM lane WHERE state IN ('queued', 'running', 'cancelling') AND state = 'queued'
      AND reason = 'target_unhealthy' AND repo_id = :repo AND target = :name
    ORDER BY class, turn, enqueued_at, id
""")


def closed_target(
    connection: Connection, repo: int, target: str, lane: int, now: float
) -> dict[str, Any] | None:
    """Why a lane of this target waits; None if it may go. The first after the time is the probe."""
    row = connection.execute(_GET, {"repo": repo, "kind": "target", "name": target}).one_or_none()
    if row is None or row.closed_until is None or row.probe_lane_id == lane:
        return None
    if row.probe_lane_id is not None:
        return {"why": row.why, "probe": row.probe_lane_id}
    if row.closed_until > now:
        return {"why": row.why, "until": row.closed_until}
    connection.execute(_PROBE, {"id": row.id, "lane": lane})
    _note(connection, row.id, "probe", now, lane)
    return None


def closed_host(connection: Connection, host: str, now: float) -> dict[str, Any] | None:
    """Why a host takes no lane; None if it may. After its time it takes one, the probe."""
    row = connection.execute(_GET, {"repo": 0, "kind": "host", "name": host}).one_or_none()
    if row is None or row.closed_until is None:
        return None
    if row.probe_lane_id is not None:
        return {"host": host, "why": row.why, "probe": row.probe_lane_id}
    if row.closed_until > now:
        return {"host": host, "why": row.why, "until": row.closed_until}
    return None


def probe_host(connection: Connection, host: str, lane: int, now: float) -> None:
    """Note that a host which was closed takes this lane as its probe."""
    row = connection.execute(_GET, {"repo": 0, "kind": "host", "name": host}).one_or_none()
    if row is not None and row.closed_until is not None:
        connection.execute(_PROBE, {"id": row.id, "lane": lane})
        _note(connection, row.id, "probe", now, lane)


def record(
    connection: Connection,
    *,
    repo: int,
    target: str,
    host: str,
    lane: int,
    failure_kind: str | None,
    why: str | None,
    now: float,
) -> None:
    """Count an end: a failure by infrastructure or timeout against it, any other one for it."""
    own = _row(connection, repo, "target", target, now)
    of_host = _row(connection, 0, "host", host, now)
    if failure_kind not in {"infrastructure", "timeout"}:
        _succeed(connection, own, lane, now)
        _succeed(connection, of_host, lane, now)
        return
    failing = _names(of_host.failing_targets)
    key = f"{repo}/{target}"
    if key not in failing:
        failing.append(key)
    said = why or failure_kind
    if len(failing) >= TARGETS_TO_CLOSE_HOST or of_host.probe_lane_id == lane:
        text_of = f"{len(failing)} targets failed on it in a row; the last: {said}"
        _close(connection, of_host, lane, text_of, now, failing)
        for each in failing:
            its_repo, _, name = each.partition("/")
            _reset(connection, _row(connection, int(its_repo), "target", name, now), now)
            look_again(connection, int(its_repo), name, now)
        return
    _keep(connection, of_host, now, failing)
    _note(connection, of_host.id, "failure", now, lane, said)
    if own.failures + 1 >= FAILURES_TO_CLOSE or own.probe_lane_id == lane:
        _close(connection, own, lane, said, now, [])
        look_again(connection, repo, target, now, ready_ones=True)
    else:
        values = {"failures": own.failures + 1, "why": said}
        _write(connection, own, now, **values)
        _note(connection, own.id, "failure", now, lane, said)


def release_probe(connection: Connection, lane: int, now: float) -> None:
    """A lane that was a probe ended without an answer, so that another one may try."""
    found = connection.execute(
        text("SELECT * FROM health WHERE probe_lane_id = :lane"), {"lane": lane}
    ).all()
    for row in found:
        connection.execute(_PROBE, {"id": row.id, "lane": None})
        _note(connection, row.id, "probe_ended", now, lane)
        _wake_waiting(connection, row, now)


def clear(connection: Connection, kind: str, name: str, repo: int, why: str, now: float) -> bool:
    """Open a target or host by hand; whether there was something to clear."""
    values = {"repo": repo, "kind": kind, "name": name}
    row = connection.execute(_GET, values).one_or_none()
    if row is None or (row.closed_until is None and not row.failures):
        return False
    _reset(connection, row, now)
    _note(connection, row.id, "cleared", now, None, why)
    _wake_waiting(connection, row, now)
    return True


def due(connection: Connection, now: float) -> None:
    """Let a probe go wherever a cool-off is over."""
    for row in connection.execute(_DUE, {"now": now}).all():
        _wake_waiting(connection, row, now)


def next_due(connection: Connection) -> float | None:
    """When the next cool-off is over."""
    query = text("SELECT min(closed_until) FROM health WHERE probe_lane_id IS NULL")
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else float(found)


def look_again(
    connection: Connection, repo: int, target: str, now: float, *, ready_ones: bool = False
) -> None:
    """Decide anew what the queued lanes of a target wait for."""
    from pika_git.persistence.queue.entry import place_all

    values = {"repo": repo, "name": target}
    ids = list(connection.execute(_WAITING_FOR_TARGET, values).scalars())
    if ready_ones:
        query = "SELECT id FROM lane WHERE state = 'queued' AND repo_id = :repo AND target = :name"
        ids = list(connection.execute(text(query), values).scalars())
    place_all(connection, ids, now)


def _wake_waiting(connection: Connection, row: Row[Any], now: float) -> None:
    if row.kind == "target":
        look_again(connection, row.repo_id or 0, row.name, now)
    else:
        from pika_git.persistence.workers import look_again as look_again_at_all

        look_again_at_all(connection, now)
    wake(connection, f"{row.kind} {row.name} may be tried", now)


def _row(connection: Connection, repo: int, kind: str, name: str, now: float) -> Row[Any]:
    values = {"repo": repo, "kind": kind, "name": name}
    found = connection.execute(_GET, values).one_or_none()
    if found is not None:
        return found
    return connection.execute(_ADD, {**values, "repo_or_null": repo or None, "now": now}).one()


def _succeed(connection: Connection, row: Row[Any], lane: int, now: float) -> None:
    if row.closed_until is None and not row.failures and row.failing_targets in {"[]", None}:
        return
    was_closed = row.closed_until is not None
    _reset(connection, row, now)
    _note(connection, row.id, "success", now, lane)
    if was_closed:
        _wake_waiting(connection, row, now)


def _close(
    connection: Connection, row: Row[Any], lane: int, why: str, now: float, failing: list[str]
) -> None:
    secs = min(MOST_COOL_OFF_SECS, (row.cool_off_secs or FIRST_COOL_OFF_SECS / 2) * 2)
    values = {"failures": row.failures + 1, "cool_off_secs": secs, "closed_until": now + secs}
    _write(connection, row, now, **values, why=why, failing_targets=json.dumps(failing))
    _note(connection, row.id, "closed", now, lane, f"for {secs:.0f} s: {why}")


def _reset(connection: Connection, row: Row[Any], now: float) -> None:
    _write(
        connection,
        row,
        now,
        failures=0,
        cool_off_secs=None,
        closed_until=None,
        why=None,
        failing_targets="[]",
    )


def _keep(connection: Connection, row: Row[Any], now: float, failing: list[str]) -> None:
    query = text("UPDATE health SET failing_targets = :failing, updated_at = :now WHERE id = :id")
    connection.execute(query, {"failing": json.dumps(failing), "now": now, "id": row.id})


def _write(connection: Connection, row: Row[Any], now: float, **changes: object) -> None:
    before = {name: getattr(row, name) for name in ("failures", "cool_off_secs", "closed_until")}
    before |= {"why": row.why, "failing_targets": row.failing_targets}
    connection.execute(_SET, {**before, **changes, "now": now, "id": row.id})


def _note(
    connection: Connection,
    health: int,
    what: str,
    now: float,
    lane: int | None,
    why: str | None = None,
) -> None:
    values = {"id": health, "now": now, "what": what, "lane": lane, "why": why}
    connection.execute(_EVENT, values)


def _names(text_of_names: str | None) -> list[str]:
    try:
        values = json.loads(text_of_names or "[]")
    except ValueError:
        return []
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
