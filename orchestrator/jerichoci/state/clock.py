"""Time as records spell it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def timestamp(seconds: float | None = None) -> str:
    """Spell a time (seconds since the epoch; now if None) as RFC 3339 in UTC with milliseconds."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds_since(start: float) -> int:
    """Milliseconds from `start`, a reading of time.monotonic(), until now."""
    return round((time.monotonic() - start) * 1000)
