"""Why a lane waits and waited, for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence.lines.reason import Reason
from pika_git.persistence.queue.model import Wait

if TYPE_CHECKING:
    from sqlalchemy import Connection

_HISTORY = text("""
    SELECT code, detail, since, until FROM reason
    WHERE lane_id = :lane AND (until IS NULL OR until > since) ORDER BY id
""")
_HOLDERS = text("""
    SELECT hold.lane_id, max(hold.since, :since), hold.until FROM group_hold AS hold
    JOIN lane ON lane.repo_id = hold.repo_id AND lane.group_name = hold.group_name
    WHERE lane.id = :lane AND hold.since < :until AND (hold.until IS NULL OR hold.until > :since)
    ORDER BY hold.since, hold.id
""")
_FIRST = text("""
    SELECT first.id FROM lane JOIN lane AS first
      ON first.repo_id = lane.repo_id AND first.group_name = lane.group_name AND first.ready = 1
    WHERE lane.id = :lane AND first.id != :lane
""")
_TARGET = text("""
    SELECT health.state, health.closed_until, health.probe_lane_id, health.why
    FROM lane JOIN health ON health.repo_id = lane.repo_id AND health.kind = 'target'
      AND health.name = lane.target
    WHERE lane.id = :lane
""")
_HOSTS = text("""
    SELECT name, state, closed_until, why FROM health
    WHERE kind = 'host' AND name IN (SELECT value FROM json_each(:hosts)) ORDER BY closed_until
""")


def waiting(connection: Connection, lane: int, now: float) -> list[Wait]:
    """All waits of a lane, the earliest first; the open one says what is waited for just now."""
    found = []
    for code, written, since, until in connection.execute(_HISTORY, {"lane": lane}).all():
        detail = _parse(written)
        holders: tuple[tuple[int, float, float | None], ...] = ()
        if code == Reason.GROUP:
            span = {"lane": lane, "since": since, "until": now if until is None else until}
            holders = tuple((row[0], row[1], row[2]) for row in connection.execute(_HOLDERS, span))
        if until is None:
            detail |= _of_now(connection, lane, code, detail)
        found.append(Wait(code, detail, since, until, holders))
    return found


def _of_now(connection: Connection, lane: int, code: str, detail: dict[str, Any]) -> dict[str, Any]:
    if code == Reason.GROUP:
        first = connection.execute(_FIRST, {"lane": lane}).scalar_one_or_none()
        return {} if first is None else {"first_in_line": first}
    if code == Reason.TARGET_UNHEALTHY:
        row = connection.execute(_TARGET, {"lane": lane}).one_or_none()
        if row is None or row.state == "open":
            return {}
        if row.state == "trial":
            return {"why": row.why, "probe": row.probe_lane_id}
        return {"why": row.why, "until": row.closed_until}
    if code == Reason.HOST_UNHEALTHY:
        values = {"hosts": json.dumps(detail.get("hosts", []))}
        row = connection.execute(_HOSTS, values).first()
        return {} if row is None else {"why": row.why, "until": row.closed_until}
    return {}


def _parse(written: str) -> dict[str, Any]:
    try:
        values = json.loads(written)
    except (ValueError, TypeError):
        return {}
    return values if isinstance(values, dict) else {}
