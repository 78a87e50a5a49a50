"""Cursors: where a list continues, as they are in URLs."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from pika_git.forge_service.lenient import number, whole

NEWEST = 2**62
"""Above every id."""


def encode(*values: float | None) -> str:
    """A cursor of these numbers."""
    return urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def decode(cursor: str | None, length: int) -> list[float] | None:
    """The numbers in a cursor, None if there is none or it isn't one."""
    try:
        values = json.loads(urlsafe_b64decode((cursor or "") + "=="))
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, list) or len(values) != length:
        return None
    found = [each for each in values if number(each) is not None or whole(each) is not None]
    return found if len(found) == length and all(abs(each) < NEWEST for each in found) else None
