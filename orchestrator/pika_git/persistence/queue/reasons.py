"""Why a lane waits, as a history without gaps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence.queue.model import Reason, Wait

if TYPE_CHECKING:
    from sqlalchemy import Connection

_CLOSE = text("UPDATE reason SET until = :now WHERE lane_id = :lane AND until IS NULL")
_OPEN = text(
    "INSERT INTO reason (lane_id, code, detail, since) VALUES (:lane, :code, :detail, :now)"
)
_CURRENT = text("SELECT code, detail FROM reason WHERE lane_id = :lane AND until IS NULL")
_MARK = text("UPDATE lane SET reason = :code, ready = :ready WHERE id = :lane")
_HISTORY = text("SELECT code, detail, since, until FROM reason WHERE lane_id = :lane ORDER BY id")
_HOLDERS = text("""
    SELECT hold.lane_id, max(hold.since, :since), hold.until FROM group_hold AS hold
    JOIN lane ON lane.repo_id = hold.repo_id AND lane.group_name = hold.group_name
    WHERE lane.id = :lane AND hold.lane_id != :lane AND hold.since < :until
      AND (hold.until IS NULL OR hold.until > :since)
    ORDER BY hold.since
""")


def set_reason(
    connection: Connection,
    lane: int,
    code: Reason,
    now: float,
    detail: dict[str, Any] | None = None,
    *,
    ready: bool = False,
) -> None:
    """Let a queued lane wait for this from now on; the same as before changes nothing."""
    written = json.dumps(detail or {}, sort_keys=True)
    connection.execute(_MARK, {"lane": lane, "code": code, "ready": ready})
    before = connection.execute(_CURRENT, {"lane": lane}).one_or_none()
    if before is not None and tuple(before) == (code, written):
        return
    connection.execute(_CLOSE, {"lane": lane, "now": now})
    connection.execute(_OPEN, {"lane": lane, "code": code, "detail": written, "now": now})


def stop_waiting(connection: Connection, lane: int, now: float) -> None:
    """End the wait of a lane."""
    connection.execute(_CLOSE, {"lane": lane, "now": now})
    connection.execute(_MARK, {"lane": lane, "code": None, "ready": False})


def waiting(connection: Connection, lane: int, now: float) -> list[Wait]:
    """All waits of a lane, the earliest first."""
    found = []
    for code, detail, since, until in connection.execute(_HISTORY, {"lane": lane}):
        holders: tuple[tuple[int, float, float | None], ...] = ()
        if code == Reason.GROUP:
            span = {"lane": lane, "since": since, "until": now if until is None else until}
            holders = tuple((row[0], row[1], row[2]) for row in connection.execute(_HOLDERS, span))
        found.append(Wait(code, _parse(detail), since, until, holders))
    return found


def _parse(detail: str) -> dict[str, Any]:
    try:
        values = json.loads(detail)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
