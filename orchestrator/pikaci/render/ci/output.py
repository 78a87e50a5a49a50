"""What a job or a prepare printed, for a group of a server's log."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from pikaci.render.tail import Log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST_LINES = 10_000
"""Of long output, at least: a server's log with more is slow to open. `pikaci logs` has it all."""
LAST_LINES = 1_000
"""Of a build's long output. A job's has the last MiB."""


def printed(directory: Path, job_id: str, speaker: str) -> Iterator[str]:
    """The lines that a job, or a prepare it needs, printed in an attempt; long output is cut."""
    cut = _of_job if speaker == job_id else _of_build
    for name in ("guest.log", "host.log"):
        lines = cut(Log(directory / name, job_id), speaker)
        if (first := next(lines, None)) is not None:
            yield first
            yield from lines
            return


def _of_job(log: Log, job_id: str) -> Iterator[str]:
    """The begin and the end; what lies between is not read, as it may be gigabytes."""
    count = 0
    while count < FIRST_LINES and (said := log.step()) is not None:
        own = [line for who, line in said if who == job_id]
        count += len(own)
        yield from own
    if passed := log.skip():
        yield f"... {passed} lines ..."
    yield from (line for who, line in log.rest() if who == job_id)


def _of_build(log: Log, name: str) -> Iterator[str]:
    own = (line for who, line in log.rest() if who == name)
    yield from islice(own, FIRST_LINES)
    last: deque[str] = deque(maxlen=LAST_LINES)
    count = 0
    for line in own:
        last.append(line)
        count += 1
    if left := count - len(last):
        yield f"... {left} lines ..."
    yield from last
