"""The lines of several runs, each after its target's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.record.event import EventBase, RunStarted
from pikaci.render.feed import Out, View
from pikaci.render.plain import Plain

if TYPE_CHECKING:
    from jerichoci.state.layout import StateLayout


class BatchLines(View):
    """Writes the lines of each run as `Plain` does."""

    def __init__(self, state: StateLayout, out: Out, *, print_logs: bool) -> None:
        self._state = state
        self._out = out
        self._print_logs = print_logs
        self._runs: dict[str, Plain] = {}

    def emit(self, event: EventBase) -> None:
        """Print an event."""
        if isinstance(event, RunStarted):
            view = Plain(self._state, self._out, print_logs=self._print_logs)
            self._runs[event.run.run_id] = view
        self._runs[event.run_id].emit(event)

    def tick(self) -> None:
        """Print new output."""
        for view in self._runs.values():
            view.tick()
