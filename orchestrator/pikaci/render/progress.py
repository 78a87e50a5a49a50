"""What of the runs of a batch is done, and what is running: by their events, for every view.

Of a batch, jobs are named `target/job`. A prepare of several targets is one, under the id that the
first of them has for it.
"""

from __future__ import annotations

import time
from dataclasses import field
from typing import TYPE_CHECKING

from jerichoci.record.event import (
    Heartbeat,
    JobFinished,
    JobPhase,
    JobStarted,
    PrepareFinished,
    PrepareStarted,
    RunFinished,
    RunStarted,
)
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import prepare_name
from jerichoci.state.natural import natural
from jerichoci.status import Outcome, PhaseName, Status
from pikaci.render.words import is_left_out
from pikaci.screen import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jerichoci.record.event import EventBase
    from jerichoci.record.record import JobRecord, RunRecord
    from jerichoci.state.layout import StateLayout

PREPARING, RUNNING = "preparing", "running"
NAMED = 3
"""How much of what Nix does is named."""

Key = tuple[str, str]
"""The run, and the node; for a prepare that runs share, no run."""


@dataclass
class Line:
    """A job or prepare that runs."""

    what: str
    key: Key
    name: str
    """For people."""
    speaker: str
    """Its id in the logs of its run."""
    since: float
    description: str = ""
    phase: str = ""
    run_id: str = ""
    teller: str = ""
    """The job whose logs have what it prints."""
    logs: Path | None = None
    """The directory of these logs."""
    waiting: set[str] = field(default_factory=set)
    """The runs that wait for it."""


class Progress:
    """The runs that were seen to start."""

    def __init__(self, state: StateLayout, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self.clock = clock
        """Seconds, which only grow."""
        self.runs: dict[str, RunRecord] = {}
        """By id, each as it was last heard of."""
        self.lines: dict[Key, Line] = {}
        """What runs now."""
        self.began = clock()
        self.all: set[Key] = set()
        """The jobs that were asked for."""
        self.done: dict[Key, Status] = {}
        """The jobs of these that are over."""
        self.waiting_since: dict[Key, float] = {}
        """The jobs of these that have not started."""
        self._beats: dict[str, Heartbeat] = {}
        self._has_title = False
        self._prepared: dict[Key, Outcome] = {}
        self._names: dict[str, Key] = {}
        self._keys: dict[Key, Key] = {}
        """The key of a prepare, by its run and its node."""

    @property
    def is_batch(self) -> bool:
        """Whether the runs were started together by one command."""
        return any(run.batch for run in self.runs.values())

    def title_before(self, event: EventBase) -> str:
        """A batch's id and targets, once all its runs have started; before, nothing."""
        if self._has_title or not self.is_batch or isinstance(event, RunStarted):
            return ""
        self._has_title = True
        runs = list(self.runs.values())
        return f"batch {runs[0].batch}: {', '.join(run.target_id for run in runs)}"

    @property
    def is_over(self) -> bool:
        """Whether all runs that were seen to start have ended."""
        return all(run.status.is_terminal for run in self.runs.values())

    @property
    def failed(self) -> int:
        """How many jobs have failed."""
        return sum(status is Status.FAILED for status in list(self.done.values()))

    @property
    def counted(self) -> str:
        """How many jobs are done, of how many: `7 of 12`."""
        return f"{len(self.done)} of {len(self.all)}"

    @property
    def nix(self) -> str:
        """What Nix does now: `building gcc-14.2.0 (3 of 17 built), fetching glibc-2.40`."""
        beats = list(self._beats.values())
        known = {line.description for line in list(self.lines.values())}
        names = list(dict.fromkeys(name for beat in beats for name in beat.building))
        said, wanted = [], sum(beat.to_build for beat in beats)
        if set(names) - known:
            built = sum(beat.built for beat in beats)
            far = f" ({built} of {wanted} built)" if wanted > 1 else ""
            said.append(f"building {some(names)}{far}")
        if fetched := [name for beat in beats for name in beat.fetching]:
            said.append(f"fetching {some(fetched)}")
        if copied := list(dict.fromkeys(name for beat in beats for name in beat.copying)):
            said.append(f"copying {some(copied)}")
        return one_line(", ".join(said))

    def is_done(self, key: Key) -> bool:
        """Whether a job or a prepare is over."""
        return key in self.done or key in self._prepared

    def in_order(self) -> list[Line]:
        """What runs: prepares before jobs, as people count."""
        rows = list(self.lines.values())
        return sorted(rows, key=lambda row: (row.what != PREPARING, natural(row.name)))

    def job_name(self, run_id: str, job_id: str) -> str:
        """A job's name for people."""
        run = self.runs.get(run_id)
        return f"{run.target_id}/{job_id}" if run and run.batch else job_id

    def note(self, event: EventBase) -> Line | None:
        """Take note of an event; what it is about, unless people have seen that or needn't."""
        match event:
            case RunStarted(run=run):
                self.runs[run.run_id] = run
                keys = [(run.run_id, job.id) for job in run.jobs]
                self.all |= {*keys}
                self.waiting_since |= dict.fromkeys(keys, self.clock())
            case PrepareStarted():
                return self._begin_prepare(event)
            case PrepareFinished():
                return self._end_prepare(event)
            case JobStarted(run_id=run_id, job_id=job_id, attempt=attempt):
                return self._begin_job((run_id, job_id), attempt)
            case JobPhase(run_id=run_id, job_id=job_id, phase=phase, outcome=outcome):
                line = self.lines.get((run_id, job_id))
                if line and outcome is Outcome.STARTED:
                    waits = phase is PhaseName.WAIT_FOR_COMPLETION
                    line.phase = "" if waits else phase.replace("_", " ")
            case Heartbeat(run_id=run_id):
                self._beats[run_id] = event
            case JobFinished(run_id=run_id, job=job):
                return self._end_job((run_id, job.id), job)
            case RunFinished(run=run):
                self._end(run)
        return None

    def _begin_prepare(self, event: PrepareStarted) -> Line | None:
        run_id = event.run_id
        # A host command has the author's id, which says nothing outside its target.
        is_shared = event.node_id != event.prepare_id
        key = self._keys[run_id, event.node_id] = ("" if is_shared else run_id, event.node_id)
        if known := self.lines.get(key):
            known.waiting.add(run_id)
            return None
        if key in self._prepared:
            return None
        speaker = prepare_name(event.node_id, event.prepare_id)
        name = speaker
        if self._names.setdefault(name, key) != key:
            name = f"{self.runs[run_id].target_id}/{name}"
        line = Line(PREPARING, key, name, speaker, self.clock(), run_id=run_id)
        line.description = event.description
        line.waiting.add(run_id)
        for job_id in event.needed_by[:1]:
            line.teller, line.logs = job_id, self._logs(run_id, job_id, 1)
        self.lines[key] = line
        return line

    def _end_prepare(self, event: PrepareFinished) -> Line | None:
        key = self._keys.get((event.run_id, event.node_id), ("", event.node_id))
        line = self.lines.get(key)
        if line is None:
            return None
        line.waiting.discard(event.run_id)
        if event.outcome is Outcome.CANCELLED and line.waiting:
            return None  # Another run still has it made.
        self._prepared[key] = event.outcome
        return self.lines.pop(key)

    def _begin_job(self, key: Key, attempt: int) -> Line:
        run_id, job_id = key
        self.waiting_since.pop(key, None)
        logs = self._logs(run_id, job_id, attempt)
        line = Line(RUNNING, key, self.job_name(*key), job_id, self.clock(), logs=logs)
        line.run_id, line.teller, line.waiting = run_id, job_id, {run_id}
        self.lines[key] = line
        return line

    def _end_job(self, key: Key, job: JobRecord) -> Line | None:
        self.waiting_since.pop(key, None)
        if is_left_out(job):
            self.all.discard(key)
        else:
            self.done[key] = job.status
        return self.lines.pop(key, None)

    def _end(self, run: RunRecord) -> None:
        self.runs[run.run_id] = run
        self._beats.pop(run.run_id, None)
        for job in run.jobs:
            self._end_job((run.run_id, job.id), job)
        for key, line in list(self.lines.items()):
            line.waiting.discard(run.run_id)
            if not line.waiting:
                del self.lines[key]
        for key in [key for key in self.waiting_since if key[0] == run.run_id]:
            del self.waiting_since[key]

    def _logs(self, run_id: str, job_id: str, attempt: int) -> Path:
        return self._state.run(run_id).attempt(job_id, attempt)


def some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
