"""Who did what to the forge, when and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ADD = text("""
    INSERT INTO audit (at, who, action, subject, why, detail)
    VALUES (:now, :who, :action, :subject, :why, :detail)
""")


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
