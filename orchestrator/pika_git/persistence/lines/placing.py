"""Deciding what queued lanes wait for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence.lines import groups, leaving, turns
from pika_git.persistence.lines.reason import Reason, Waiting, set_reasons
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Row

    from pika_git.persistence.lines.facts import Closed, Facts

MOST_TRIED_AS_PROBE = 100

_QUEUED = """
    SELECT lane.id, lane.repo_id, lane.ref, lane.class AS klass, lane.target, lane.group_name,
        lane.label_set_id, lane.not_before, lane.enqueued_at, lane.reason, lane.ready, lane.run_id,
        reason.code, reason.detail
    FROM lane LEFT JOIN reason ON reason.lane_id = lane.id AND reason.until IS NULL
    WHERE lane.state = 'queued'"""
_ALL = text(f"{_QUEUED} ORDER BY lane.enqueued_at, lane.id")
_THESE = text(_QUEUED + " AND lane.id IN (SELECT value FROM json_each(:ids)) ORDER BY lane.id")  # noqa: S608 - constants
_OF_TARGET = text(
    f"{_QUEUED} AND lane.repo_id = :repo AND lane.target = :target"
    " ORDER BY lane.enqueued_at, lane.id LIMIT :most"
)
_STATE = text("SELECT state FROM lane WHERE id = :lane")
_PROBE = text("UPDATE health SET probe_lane_id = :lane WHERE id = :id")
_PROBE_EVENT = text("""
    INSERT INTO health_event (health_id, at, what, lane_id) VALUES (:id, :now, 'probe', :lane)
""")
READY = (Reason.QUEUED, Reason.CAPACITY, Reason.STALE_RECOVERED)


def place_lanes(connection: Connection, facts: Facts, lanes: Iterable[int]) -> None:
    """Decide anew what these lanes wait for."""
    ids = json.dumps(sorted(lanes))
    _place(connection, facts, connection.execute(_THESE, {"ids": ids}).all())


def place_target(connection: Connection, facts: Facts, repo: int, target: str) -> None:
    """A target was closed, came on trial, lost its probe or was opened."""
    values = {"repo": repo, "target": target, "most": -1}
    _place(connection, facts, connection.execute(_OF_TARGET, values).all())


def place_all(connection: Connection, facts: Facts) -> int:
    """What every lane may wait for has changed; how many wait for something else now."""
    return _place(connection, facts, connection.execute(_ALL).all())


def free_group(connection: Connection, facts: Facts, repo: int, group: str | None) -> None:
    """A lane gave its group back, or left its line: the next one may be ready."""
    if group is not None:
        changed = groups.settle(connection, facts, repo, group)
        turns.settle(connection, changed)
        if changed:
            wake(connection, f"group {group} has another first", facts.now)


def fail_damaged(connection: Connection, facts: Facts, row: Row[Any], what: str) -> None:
    """End a lane whose row can't be read; all others go on."""
    cause = {"code": "damaged_row", "message": f"its row is damaged: {what}", "hint": "rerun it"}
    leaving.end(connection, row.id, row.run_id, "failed", facts.now, "infrastructure", cause)
    turns.settle(connection, [row])
    free_group(connection, facts, row.repo_id, row.group_name)


def _place(connection: Connection, facts: Facts, rows: Sequence[Row[Any]]) -> int:
    probes = _choose_probes(connection, facts, {(row.repo_id, row.target) for row in rows})
    if probes := probes - {row.id for row in rows}:
        ids = json.dumps(sorted(probes))
        rows = [*rows, *connection.execute(_THESE, {"ids": ids})]
    waits, moved = [], []
    for row in rows:
        try:
            waiting = _in_line(row, _decide(facts, row))
        except (TypeError, ValueError) as error:
            fail_damaged(connection, facts, row, str(error))
            continue
        if not _is_same(row, waiting):
            waits.append((row.id, waiting))
            moved.append(row)
    set_reasons(connection, waits, facts.now)
    touched = list(moved)
    for repo, group in {(row.repo_id, row.group_name) for row in moved if row.group_name}:
        touched += groups.settle(connection, facts, repo, group)
    turns.settle(connection, touched)
    if touched:
        wake(connection, "what lanes wait for has changed", facts.now)
    return len(moved)


def _decide(facts: Facts, row: Row[Any]) -> Waiting:
    waiting = _standing(facts, row)
    closed = facts.targets.get((row.repo_id, row.target))
    if waiting.ready and closed is not None and closed.probe != row.id:
        return Waiting(Reason.TARGET_UNHEALTHY, {"target": row.target, "why": closed.why})
    return waiting


def _standing(facts: Facts, row: Row[Any]) -> Waiting:
    """What a lane waits for, but for its group and its target's health."""
    float(row.enqueued_at)
    if row.label_set_id not in facts.label_sets:
        raise ValueError("the labels that it asks for are not there")
    waiting = facts.fits(row.label_set_id)
    if waiting.code is Reason.NO_HOST_FITS:
        return waiting
    if facts.paused:
        return Waiting(Reason.PAUSED, {"what": "forge", "why": facts.paused})
    if row.repo_id in facts.paused_repos:
        return Waiting(Reason.PAUSED, {"what": "repository"})
    if row.not_before is not None and row.not_before > facts.now:
        return Waiting(Reason.NOT_BEFORE, {"until": row.not_before})
    return waiting


def _in_line(row: Row[Any], waiting: Waiting) -> Waiting:
    """One that may go stands in its group's line; where, is decided when all of them do."""
    if waiting.ready and row.ready and row.reason in READY:
        return Waiting(Reason(row.reason), {}, ready=True)
    if waiting.ready and row.group_name is not None:
        return groups.blocked(row.group_name)
    return waiting


def _is_same(row: Row[Any], waiting: Waiting) -> bool:
    if waiting.ready and row.ready and row.code == row.reason == waiting.code:
        return True  # what there is room for changes with every claim, and is said when asked
    detail = json.dumps(waiting.detail, sort_keys=True)
    before = (row.reason, bool(row.ready), row.code, row.detail)
    return before == (waiting.code, waiting.ready, waiting.code, detail)


def _choose_probes(
    connection: Connection, facts: Facts, targets: Iterable[tuple[int, str]]
) -> set[int]:
    """Give each of these targets that is on trial its one lane; those to be placed for it."""
    changed: set[int | None] = set()
    for key in targets:
        closed = facts.targets.get(key)
        if closed is None or not closed.on_trial or _is_probing(connection, facts, closed):
            continue
        before, closed.probe = closed.probe, _first_to_try(connection, facts, *key)
        if closed.probe != before:
            values = {"id": closed.id, "lane": closed.probe, "now": facts.now}
            connection.execute(_PROBE, values)
            if closed.probe is not None:
                connection.execute(_PROBE_EVENT, values)
            changed |= {before, closed.probe}
    return {lane for lane in changed if lane is not None}


def _is_probing(connection: Connection, facts: Facts, closed: Closed) -> bool:
    if closed.probe is None:
        return False
    if connection.execute(_STATE, {"lane": closed.probe}).scalar() in {"running", "cancelling"}:
        return True
    rows = connection.execute(_THESE, {"ids": json.dumps([closed.probe])}).all()
    return any(_may_try(facts, row) for row in rows)


def _first_to_try(connection: Connection, facts: Facts, repo: int, target: str) -> int | None:
    values = {"repo": repo, "target": target, "most": MOST_TRIED_AS_PROBE}
    rows = connection.execute(_OF_TARGET, values)
    return next((row.id for row in rows.all() if _may_try(facts, row)), None)


def _may_try(facts: Facts, row: Row[Any]) -> bool:
    try:
        return _standing(facts, row).ready
    except (TypeError, ValueError):
        return False
