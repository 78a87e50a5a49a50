"""Events and records as JSON, always in UTF-8."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jerichoci.record.event import RunFinished
from pikaci.render.feed import View

if TYPE_CHECKING:
    from jerichoci.plan.model import Model
    from jerichoci.record.event import EventBase
    from pikaci.render.feed import Out


class JsonLines(View):
    """Prints each event as a line, exactly as events.jsonl has it."""

    def __init__(self, out: Out) -> None:
        self._out = out

    def emit(self, event: EventBase) -> None:
        """Print an event."""
        self._write(event, separators=(",", ":"))

    def _write(self, model: Model, **form: Any) -> None:  # noqa: ANN401 - of json.dumps
        text = json.dumps(model.model_dump(mode="json"), ensure_ascii=False, **form)
        self._out.write(text.encode("utf-8", "surrogateescape") + b"\n")


class FinalRecord(JsonLines):
    """Prints the record of the run's last event."""

    def emit(self, event: EventBase) -> None:
        """Print the record, once it is final."""
        if isinstance(event, RunFinished):
            self._write(event.run, indent=2)
