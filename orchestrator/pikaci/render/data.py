"""Events and records as JSON on stdout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from jerichoci.event import RunFinished

if TYPE_CHECKING:
    from jerichoci.event import EventBase


class JsonLines:
    """Each event as a line, flushed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def emit(self, event: EventBase) -> None:
        """Print an event exactly as events.jsonl has it."""
        line = json.dumps(event.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False)
        self._stream.write(line + "\n")
        self._stream.flush()


class FinalRecord:
    """The terminal record, once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def emit(self, event: EventBase) -> None:
        """Print the record of the run's last event."""
        if isinstance(event, RunFinished):
            values = event.run.model_dump(mode="json")
            self._stream.write(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
            self._stream.flush()
