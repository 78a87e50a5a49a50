"""The file that a server's runner reads a step's summary from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jerichoci.record.event import EventBase, RunFinished, RunStarted
from jerichoci.record.journal import complain
from pikaci.render.ci.summary import parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jerichoci.record.record import RunRecord
    from jerichoci.state.layout import StateLayout

NAMES = ("FORGEJO_STEP_SUMMARY", "GITEA_STEP_SUMMARY", "GITHUB_STEP_SUMMARY")
"""The variables with the file's path. Where several are set, they name the same file."""
MOST_BYTES = 1024 * 1024
"""Of a file: GitHub and Gitea drop a longer one."""
ROOM_BYTES = 1024
"""For the sentence that says what is left out."""
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
"""The last, so that a pipe without a reader is an error and no wait."""


class StepSummary:
    """Hears of runs, and writes about them when it is closed."""

    def __init__(self, state: StateLayout, path: str) -> None:
        self._state = state
        self._path = path
        self._runs: dict[str, RunRecord] = {}
        """By id, in the order in which they started."""

    def emit(self, event: EventBase) -> None:
        """Take note of a run's start and end."""
        if isinstance(event, RunStarted | RunFinished):
            self._runs[event.run.run_id] = event.run

    def close(self) -> None:
        """Add to the file; say it on stderr if that can't be done."""
        if not self._runs:
            return
        try:
            fd = os.open(self._path, FLAGS, 0o644)
            with os.fdopen(fd, "ab") as file:
                size = os.fstat(fd).st_size
                room = MOST_BYTES - ROOM_BYTES - size
                file.write(
                    b"\n" * bool(size)
                    + fitting(parts(self._state, list(self._runs.values())), room)
                )
        except OSError as error:
            complain(f"could not write the step summary to {self._path}: {error.strerror}")


def path_of(environment: Mapping[str, str]) -> str | None:
    """Where a step summary goes; None if the server wants none."""
    return next(filter(None, map(environment.get, NAMES)), None)


def fitting(texts: Iterable[str], room: int) -> bytes:
    """As many of the texts as there is room for, in bytes, and how many are left out."""
    found, left = [], 0
    for text in texts:
        data = f"{text}\n\n".encode("utf-8", "replace")
        if left or len(data) > room:
            left += 1
        else:
            room -= len(data)
            found.append(data)
    if left:
        found.append(f"The summary is full: {left} more parts are left out.\n".encode())
    return b"".join(found)
