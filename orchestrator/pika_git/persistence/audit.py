"""Who did what to the forge, when and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ADD = text("""
    INSERT INTO audit (at, who, action, subject, why, detail)
    VALUES (:now, :who, :action, :subject, :why, :detail)
""")
_PAGE = text("SELECT * FROM audit WHERE id < :before ORDER BY id DESC LIMIT :limit")
_LAST = 2**62


@dataclass(frozen=True)
class Entry:
    """One thing that was done; `at` is in seconds since the epoch."""

    id: int
    at: float
    who: str
    action: str
    subject: str
    why: str | None
    detail: dict[str, Any]


def record(
    connection: Connection,
    *,
    who: str,
    action: str,
    subject: str,
    why: str,
    now: float,
    detail: dict[str, Any] | None = None,
) -> None:
    """Note an act, in the transaction that does it."""
    values = {"who": who, "action": action, "subject": subject, "why": why or None, "now": now}
    connection.execute(_ADD, {**values, "detail": json.dumps(detail or {})})


def page(connection: Connection, before: int | None = None, limit: int = 50) -> list[Entry]:
    """The newest entries that are older than the entry `before`."""
    rows = connection.execute(_PAGE, {"before": before or _LAST, "limit": limit})
    return [
        Entry(row.id, row.at, row.who, row.action, row.subject, row.why, _parse(row.detail))
        for row in rows
    ]


def _parse(detail: object) -> dict[str, Any]:
    try:
        values = json.loads(str(detail))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
