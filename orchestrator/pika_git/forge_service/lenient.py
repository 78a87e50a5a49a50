"""Values of rows and records as they are shown: what is damaged is left out, never an error."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

LATEST = 253402300799.0
"""The end of the year 9999: later times can't be written."""


def number(value: object) -> float | None:
    """A time or duration in seconds, None if it isn't one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if -LATEST <= value <= LATEST else None


def whole(value: object) -> int | None:
    """A whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def words(value: object) -> str | None:
    """A text that isn't empty."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) and value else None


def parsed(value: object) -> Any:  # noqa: ANN401 - JSON of any kind
    """The value that a column's JSON stands for, None if it isn't JSON."""
    if not isinstance(value, str | bytes):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def mapping(value: object) -> dict[str, Any]:
    """A column's JSON object, empty if it isn't one."""
    found = parsed(value)
    return found if isinstance(found, dict) else {}


def listing(value: object) -> list[Any]:
    """A column's JSON list, empty if it isn't one."""
    found = parsed(value)
    return found if isinstance(found, list) else []


def moment(value: object) -> float | None:
    """A record's timestamp in seconds since the epoch."""
    if not isinstance(value, str):
        return None
    try:
        return number(datetime.fromisoformat(value).timestamp())
    except (ValueError, OverflowError, OSError):
        return None


def rows(values: object, key: str) -> list[dict[str, Any]]:
    """The objects in a list of a record."""
    found = values.get(key) if isinstance(values, dict) else None
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
