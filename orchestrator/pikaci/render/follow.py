"""What jobs and builds print, as it comes: the logs of all runs, each line after who printed it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from jerichoci.state.ids import prepare_name
from pikaci.render.tail import Tails

if TYPE_CHECKING:
    from collections.abc import Callable

    from jerichoci.record.event import PrepareStarted
    from pikaci.render.progress import Line, Progress


class Printed:
    """Follows the logs of runs; each line goes to `show` with the name of who printed it."""

    def __init__(self, progress: Progress, show: Callable[[str, str], None]) -> None:
        self._progress = progress
        self._show = show
        self._tails: dict[str, Tails] = {}
        """Of each run."""
        self._names: dict[tuple[str, str], str] = {}
        """The prepares' names for people, by the run and the id in its logs."""

    def begin_prepare(self, event: PrepareStarted, line: Line | None) -> None:
        """Follow a prepare, or with no line pass over it: it is followed in another run."""
        tails = self._of(event.run_id)
        if line is None:
            tails.leave_out(prepare_name(event.node_id, event.prepare_id))
        elif line.logs:
            self._names[line.run_id, line.speaker] = line.name
            tails.follow_prepare(line.speaker, line.teller, line.logs)

    def end_prepare(self, line: Line) -> None:
        """Show all that a prepare has printed."""
        self._of(line.run_id).end_prepare(line.speaker)

    def begin_job(self, line: Line) -> None:
        """Follow an attempt at a job."""
        if line.logs:
            self._of(line.run_id).follow(line.speaker, line.logs)

    def end_job(self, run_id: str, job_id: str) -> None:
        """Show all that a job has printed."""
        self._of(run_id).end(job_id)

    def poll(self) -> None:
        """Show what is new."""
        for tails in self._tails.values():
            tails.poll()

    def _of(self, run_id: str) -> Tails:
        if run_id not in self._tails:
            self._tails[run_id] = Tails(partial(self._hear, run_id))
        return self._tails[run_id]

    def _hear(self, run_id: str, speaker: str, line: str) -> None:
        name = self._names.get((run_id, speaker)) or self._progress.job_name(run_id, speaker)
        self._show(name, line)
