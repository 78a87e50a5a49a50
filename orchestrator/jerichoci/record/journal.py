"""events.jsonl: the run's events in order, stamped, on disk before they are sent anywhere.

Sinks get each event afterwards. A sink that fails gets no more; the run continues.
"""

from __future__ import annotations

import json
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from jerichoci.errors import InfrastructureError
from jerichoci.state.clock import timestamp
from jerichoci.state.reading import read_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jerichoci.record.event import EventBase


class Sink(Protocol):
    """What gets each event as it happens."""

    def emit(self, event: EventBase) -> None:
        """Take note of one event."""


class Journal:
    """The one writer of a run's events."""

    def __init__(self, path: Path, run_id: str, sinks: Sequence[Sink]) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self._path = path
        self._run_id = run_id
        self._sinks = list(sinks)
        self._seq = 0

    def close(self) -> None:
        os.close(self._fd)

    def check(self) -> None:
        """See that the file is still where it was."""
        if not self._path.exists():
            directory = self._path.parent
            what = self._path if directory.exists() else directory
            raise InfrastructureError(
                f"{what} was removed while the run went on",
                "leave the directories of runs to `pikaci gc`, and run it again",
            )

    def stamp(self, event: EventBase) -> EventBase:
        return event.with_(seq=self._seq, ts=timestamp(), run_id=self._run_id)

    def append(self, event: EventBase) -> EventBase:
        """Stamp an event and write it to the file, nowhere else yet."""
        self.check()
        stamped = self.stamp(event)
        append_line(self._fd, stamped.as_json())
        self._seq += 1
        return stamped

    def send(self, stamped: EventBase) -> None:
        """Tell the sinks of an event that is on disk."""
        for sink in list(self._sinks):
            try:
                sink.emit(stamped)
            except Exception as error:  # noqa: BLE001 - a view of a run is never its end
                self._sinks.remove(sink)
                if not isinstance(error, BrokenPipeError):
                    complain(
                        f"stopped sending events to a listener: {error or type(error).__name__}"
                    )

    def emit(self, event: EventBase) -> None:
        self.send(self.append(event))


def complain(text: str) -> None:
    """Say something on stderr, unless that is closed or would wait for its reader."""
    with suppress(OSError, ValueError, AttributeError):
        fd = sys.stderr.fileno()
        if select.select([], [fd], [], 0)[1]:
            line = f"pikaci: {text}".encode("utf-8", "backslashreplace").replace(b"\n", b" ")
            os.write(fd, line[: select.PIPE_BUF - 1] + b"\n")


def write_line(fd: int, values: dict[str, object]) -> None:
    """Append values as one JSON line, as `append_line` does."""
    data = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    append_line(fd, data.encode("utf-8", "surrogateescape"))


def append_line(fd: int, data: bytes) -> None:
    """Append a line in one write; a line cut short by a full disk is taken back."""
    line = data + b"\n"
    end = os.fstat(fd).st_size
    try:
        written = os.write(fd, line)
    except OSError:
        os.ftruncate(fd, end)
        raise
    if written < len(line):
        os.ftruncate(fd, end)
        raise OSError(28, "No space left on device", None)


def cut_half_line(path: Path) -> None:
    """Remove what a killed writer has half written at the end of a journal."""
    with suppress(FileNotFoundError):
        data = read_file(path)
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)
