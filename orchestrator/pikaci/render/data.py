"""Events and records as JSON, always in UTF-8."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jerichoci.record.event import RunFinished

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.record.event import EventBase
    from pikaci.render.out import Out


class Data:
    """Prints nothing but JSON."""

    def __init__(self, out: Out) -> None:
        self._out = out

    def stopping(self) -> None:
        """An event follows."""

    def tick(self) -> None:
        """Nothing changes without an event."""

    def _write(self, text: str) -> None:
        self._out.write(text.encode("utf-8", "surrogateescape") + b"\n")


class JsonLines(Data):
    """Each event as a line."""

    def emit(self, event: EventBase) -> None:
        """Print an event exactly as events.jsonl has it."""
        values = event.model_dump(mode="json")
        self._write(json.dumps(values, separators=(",", ":"), ensure_ascii=False))


class FinalRecord(Data):
    """The terminal record, once."""

    def emit(self, event: EventBase) -> None:
        """Print the record of the run's last event."""
        if isinstance(event, RunFinished):
            values = event.run.model_dump(mode="json")
            self._write(json.dumps(values, indent=2, ensure_ascii=False))


@contextmanager
def json_lines(out: Out) -> Iterator[JsonLines]:
    """The events as JSON."""
    yield JsonLines(out)


@contextmanager
def final_record(out: Out) -> Iterator[FinalRecord]:
    """The record as JSON."""
    yield FinalRecord(out)
