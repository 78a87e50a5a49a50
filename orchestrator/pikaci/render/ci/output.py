"""What a job or a prepare printed, for a group of a server's log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pikaci.render.tail import Log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST_LINES = 10_000
"""Of long output: a server's log with more is slow to open. `pikaci logs` has it all."""


def printed(directory: Path, job_id: str, speaker: str) -> Iterator[str]:
    """The lines that a job, or a prepare it needs, printed in an attempt.

    Of long output these are the first lines and the last MiB.
    """
    for name in ("guest.log", "host.log"):
        count = 0
        log = Log(directory / name, job_id)
        for who, line in log.rest():
            if who == speaker:
                yield line
                count += 1
                if count == FIRST_LINES and (passed := log.skip()):
                    yield f"... {passed} lines ..."
        if count:
            return
