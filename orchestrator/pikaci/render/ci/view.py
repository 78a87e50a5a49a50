"""A run in a CI server's log: the lines that a log file has, and a group for each job.

The output of a job is printed when the job is over, so that jobs that run side by side don't mix;
meanwhile a line each 30 s names what runs. A group is folded. The last lines of a failed job come
after its group, where they can be seen at once. Annotations come at the end, because a server shows
only the first few of a step: each failed job has some of these.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.record.event import EventBase, PrepareFinished, RunStarted
from jerichoci.status import Outcome, Status
from pikaci.render import words
from pikaci.render.ci.annotations import Findings, allot
from pikaci.render.ci.finding import Finding, Level, Reader, in_repository
from pikaci.render.ci.markup import Group, Markup
from pikaci.render.ci.output import printed
from pikaci.render.plain import Plain
from pikaci.render.tail import LAST_LINES
from pikaci.screen import one_line, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jerichoci.record.record import JobRecord
    from jerichoci.state.layout import StateLayout
    from pikaci.render.feed import Out


class ServerLog(Plain):
    """Writes lines, groups and annotations."""

    def __init__(self, state: StateLayout, out: Out, markup: Markup, *, print_logs: bool) -> None:
        super().__init__(state, out, print_logs=False)
        self._markup = markup
        self._shows_builds = print_logs
        self._colours = not os.environ.get("NO_COLOR")
        self._tree: Path | None = None
        self._findings: list[Findings] = []

    def emit(self, event: EventBase) -> None:
        """Print an event."""
        self._run_id = event.run_id
        if isinstance(event, RunStarted) and event.run.snapshot_dir:
            self._tree = Path(event.run.snapshot_dir)
        super().emit(event)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Print annotations at the end."""
        yield
        self._out.write(self._markup.annotations(allot(self._findings)))

    def _end_prepare(self, event: PrepareFinished) -> None:
        teller = self._tellers.get(event.node_id)
        if self._shows_builds and teller and not event.cached:
            name = event.node_id
            ended = int(time.time())
            began = ended - event.duration_ms // words.SECOND_MS
            group = Group(f"{self._run_id}.{name}", f"output of prepare {name}", began, ended)
            lines = printed(self._logs(teller, 1), teller, name)
            self._write(
                group, name, lines, shown_after=LAST_LINES if event.outcome is Outcome.FAILED else 0
            )
            self._tellers.pop(name)
        super()._end_prepare(event)

    def _end_job(self, job: JobRecord) -> None:
        is_failed = job.status is Status.FAILED
        findings = Findings(passed=job.status is Status.PASSED)
        output = printed(self._logs(job.id, max(1, job.attempt)), job.id, job.id)
        lines = self._noting(output, findings)
        times = (_seconds(job.started_at), _seconds(job.finished_at))
        group = Group(f"{self._run_id}.{job.id}", f"output of job {job.id}", *times)
        self._write(group, job.id, lines, shown_after=LAST_LINES if is_failed else 0)
        for names in (self._waiting, self._running):
            names.pop(f"job {job.id}", None)
        took = words.between(job.started_at, job.finished_at)
        self._say(f"job {job.id} {words.job_end(job)}" + (f" in {took}" if took else ""))
        if is_failed and not findings.of(Level.ERROR):
            findings.note(Finding(Level.ERROR, words.job_end(job), title=f"job {job.id}"))
        self._findings.append(findings)

    def _write(self, group: Group, speaker: str, lines: Iterable[str], shown_after: int) -> None:
        """Write lines as a group, and the last of them after it."""
        after: deque[str] = deque()
        is_open = False
        for line in lines:
            after.append(line)
            if len(after) > shown_after:
                if not is_open:
                    self._out.write(self._markup.opening(group))
                    is_open = True
                text = shown(after.popleft(), colours=self._colours)
                self._out.write(self._markup.inside(group, text))
        if is_open:
            self._out.write(self._markup.closing(group))
        for line in after:
            self._show(speaker, line)

    def _noting(self, lines: Iterable[str], findings: Findings) -> Iterator[str]:
        reader = Reader()
        for line in lines:
            if (found := reader.read(line)) and (found := in_repository(found, self._tree)):
                findings.note(found)
            yield line

    def _say(self, text: str) -> None:
        self._out.write(self._markup.outside(f"pikaci: {one_line(text)}"))

    def _show(self, speaker: str, line: str) -> None:
        text = shown(line, colours=self._colours)
        self._out.write(self._markup.outside(f"{speaker}> {text}"))


def _seconds(timestamp: str | None) -> int:
    """Since 1970, of a record's timestamp."""
    try:
        return int(datetime.fromisoformat(timestamp or "").timestamp())
    except ValueError:
        return int(time.time())
