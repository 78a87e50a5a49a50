"""A run's own time line, in Chrome's trace format: `PIKACI_TRACE=FILE`.

Perfetto and chrome://tracing show it. Each line that is appended is a complete event (`ph` is `X`)
with its beginning since the epoch and its duration, both in microseconds. What happens at the
same time is on rows of its own (`tid`).
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "PIKACI_TRACE"
STARTED_NS = time.time_ns()
"""When this module was imported, which is early."""
_BUSY_ROWS: set[int] = set()


@contextmanager
def span(name: str, kind: str = "pikaci", **about: object) -> Iterator[None]:
    """Show how long a block takes; without the variable, do nothing."""
    path = os.environ.get(VARIABLE)
    if not path:
        yield
        return
    row = next(number for number in range(1, len(_BUSY_ROWS) + 2) if number not in _BUSY_ROWS)
    _BUSY_ROWS.add(row)
    began = time.time_ns()
    try:
        yield
    finally:
        _BUSY_ROWS.discard(row)
        _write(path, name, kind, row, began, time.time_ns(), about)


def started() -> None:
    """Show how long this process has taken until now, from its start on."""
    if path := os.environ.get(VARIABLE):
        now = time.time_ns()
        _write(path, "start and import", "pikaci", 0, _process_start_ns(now), now, {})


def _process_start_ns(now: int) -> int:
    """When this process began, to 10 ms; where /proc doesn't say, when this module was imported."""
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - quick to import
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        up_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return now - up_ns + ticks * 10**9 // os.sysconf("SC_CLK_TCK")
    return STARTED_NS


def _write(  # noqa: PLR0913, PLR0917 - what an event has
    path: str, name: str, kind: str, row: int, began: int, ended: int, about: dict[str, object]
) -> None:
    event = {
        "name": name,
        "cat": kind,
        "ph": "X",
        "ts": began / 1000,
        "dur": (ended - began) / 1000,
        "pid": os.getpid(),
        "tid": row,
        "args": about,
    }
    # The format is a JSON array whose end may be missing.
    with suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            begin = "" if os.fstat(fd).st_size else "[\n"
            os.write(fd, f"{begin}{json.dumps(event, default=str)},\n".encode())
        finally:
            os.close(fd)
