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
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.record.event import EventBase, PrepareFinished, RunStarted
from jerichoci.status import Outcome, Status
from pikaci.render import words
from pikaci.render.ci.annotations import Findings, allot
from pikaci.render.ci.finding import Finding, Level, Reader, of_tests
from pikaci.render.ci.markup import Group, Markup
from pikaci.render.ci.output import printed
from pikaci.render.ci.repository import Repository
from pikaci.render.plain import Plain
from pikaci.render.tail import LAST_LINES, cut
from pikaci.screen import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jerichoci.record.record import JobRecord
    from jerichoci.state.layout import StateLayout
    from pikaci.render.feed import Out
    from pikaci.render.progress import Line


class ServerLog(Plain):
    """Writes lines, groups and annotations."""

    def __init__(
        self,
        state: StateLayout,
        out: Out,
        *,
        markup: Markup,
        print_logs: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(state, out, print_logs=False, clock=clock)
        self._markup = markup
        self._shows_builds = print_logs
        self._colours = not os.environ.get("NO_COLOR")
        self._repositories: dict[str, Repository] = {}
        """Of each run's snapshot."""
        self._findings: list[Findings] = []

    def emit(self, event: EventBase) -> None:
        """Print an event."""
        if isinstance(event, RunStarted):
            root = event.run.snapshot_dir
            self._repositories[event.run_id] = Repository(Path(root) if root else None)
        super().emit(event)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Print annotations at the end."""
        with super().live():
            yield
        self._out.write(self._markup.annotations(allot(self._findings)))

    def _end_prepare(self, event: PrepareFinished, line: Line) -> None:
        if self._shows_builds and line.logs and not event.cached:
            ended = int(time.time())
            began = ended - event.duration_ms // words.SECOND_MS
            title = f"output of prepare {line.name}"
            group = Group(f"{event.run_id}.prepare.{line.speaker}", title, began, ended)
            lines = printed(line.logs, line.teller, line.speaker)
            shown_after = LAST_LINES if event.outcome is Outcome.FAILED else 0
            self._write(group, line.name, lines, shown_after=shown_after)
            line.logs = None
        super()._end_prepare(event, line)

    def _end_job(self, run_id: str, job: JobRecord) -> None:
        name = self._progress.job_name(run_id, job.id)
        is_failed = job.status is Status.FAILED
        findings = Findings(passed=job.status is Status.PASSED)
        logs = self._state.run(run_id).attempt(job.id, max(1, job.attempt))
        repository = self._repositories[run_id]
        for found in filter(None, map(repository.place, of_tests(job.tests))):
            findings.note_test(found)
        lines = self._noting(printed(logs, job.id, job.id), findings, repository)
        times = (_seconds(job.started_at), _seconds(job.finished_at))
        group = Group(f"{run_id}.{job.id}", f"output of job {name}", *times)
        self._write(group, name, lines, shown_after=LAST_LINES if is_failed else 0)
        self._say(self._job_ended(run_id, job))
        if is_failed:
            _explain(findings, job, name)
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
                text = cut(after.popleft(), colours=self._colours)
                self._out.write(self._markup.inside(group, text))
        if is_open:
            self._out.write(self._markup.closing(group))
        for line in after:
            self._show(speaker, line)

    @staticmethod
    def _noting(lines: Iterable[str], findings: Findings, repository: Repository) -> Iterator[str]:
        reader = Reader()
        for line in lines:
            if (found := reader.read(line)) and (found := repository.place(found)):
                findings.note(found)
            yield line

    def _say(self, text: str) -> None:
        self._out.write(self._markup.outside(f"pikaci: {one_line(text)}"))

    def _show(self, speaker: str, line: str) -> None:
        text = cut(line, colours=self._colours)
        self._out.write(self._markup.outside(f"{speaker}> {text}"))


def _explain(findings: Findings, job: JobRecord, name: str) -> None:
    """Have a failed job say why where no tool did for a line: by its tests, or by its end."""
    if not findings.of(Level.ERROR):
        for found in of_tests(job.tests):
            findings.note(replace(found, file=None, line=None))
    if not findings.of(Level.ERROR):
        findings.note(Finding(Level.ERROR, words.job_end(job), title=f"job {name}"))


def _seconds(timestamp: str | None) -> int:
    """Since 1970, of a record's timestamp."""
    try:
        return int(datetime.fromisoformat(timestamp or "").timestamp())
    except ValueError:
        return int(time.time())
