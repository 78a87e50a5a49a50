"""What pages and the API show. Times are seconds since the epoch, durations seconds.

A field that is None is unknown or has not happened. `problems` says in words which parts of a row
or record are damaged; the rest is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from jerichoci import Cause, TestSummary  # noqa: TC001 - the API reads these types at run time

if TYPE_CHECKING:
    from pika_git.data import DataDir
    from pika_git.persistence.database import Database


class Source(Protocol):
    """Where what is shown comes from: the database, and the records of runs."""

    @property
    def database(self) -> Database:
        """The forge's database."""

    @property
    def data(self) -> DataDir:
        """The forge's directory."""


@dataclass(frozen=True)
class RunLine:
    """A run in a list. `counts` has the number of its lanes by state."""

    id: int
    kind: str
    state: str
    ref: str
    head: str
    created_by: str
    created_at: float | None
    finished_at: float | None
    message: str | None
    hint: str | None
    rerun_of: int | None
    superseded_by: int | None
    counts: dict[str, int] = field(default_factory=dict)
    summary: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class BranchLine:
    """A branch in a list, with its newest run."""

    id: int
    repo_id: int | None
    repo: str
    ref: str
    name: str
    state: str
    head: str | None
    merge_commit: str | None
    updated_at: float | None
    run: RunLine | None
    is_default: bool = False


@dataclass(frozen=True)
class Feed:
    """Branches, what changed last first; `next` is the cursor of the next page."""

    now: float
    branches: tuple[BranchLine, ...]
    next: str | None


@dataclass(frozen=True)
class Wait:
    """An interval of waiting: why in words, and what ends it; it lasts if `until` is None."""

    code: str
    words: str
    ends: str
    since: float | None
    until: float | None


@dataclass(frozen=True)
class Attempt:
    """One try at a lane. `refused` is a result of it that came late, and why it does not count."""

    number: int
    pikaci_run_id: str
    host: str
    worker: str | None
    state: str
    failure_kind: str | None
    cause: Cause | None
    exit_code: int | None
    claimed_at: float | None
    started_at: float | None
    finished_at: float | None
    refused: str | None


@dataclass(frozen=True)
class Act:
    """What a person did, from the audit."""

    id: int
    at: float | None
    who: str
    action: str
    subject: str
    why: str | None


@dataclass(frozen=True)
class Lane:
    """A lane with its history. `sentence` says how it stands; `wait` is what it waits for now."""

    id: int
    run_id: int
    name: str
    title: str
    target: str
    state: str
    required: bool
    why: str
    group: str | None
    labels: tuple[str, ...]
    sentence: str
    wait: Wait | None
    place: int | None
    enqueued_at: float | None
    started_at: float | None
    finished_at: float | None
    failure_kind: str | None
    cause: Cause | None
    cancel_by: str | None
    cancel_reason: str | None
    rerun_of: int | None
    retries_used: int
    retries_left: int
    silent_secs: float | None
    waits: tuple[Wait, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    acts: tuple[Act, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selected:
    """A lane of the head's file, and why it runs or does not."""

    name: str
    title: str
    is_selected: bool
    why: str


@dataclass(frozen=True)
class Run:
    """A run with its lanes, failures first."""

    now: float
    line: RunLine
    repo_id: int | None
    repo: str
    repo_paused: bool
    branch_id: int | None
    branch_state: str | None
    base: str | None
    pusher: str | None
    lanes: tuple[Lane, ...]
    left_out: tuple[Selected, ...]
    reruns: tuple[RunLine, ...]
    acts: tuple[Act, ...]


@dataclass(frozen=True)
class Branch:
    """A branch: its newest run with its lanes, and the runs before it."""

    now: float
    line: BranchLine
    run: Run | None
    runs: tuple[RunLine, ...]
    next: str | None


@dataclass(frozen=True)
class Segment:
    """A piece of a row in a timeline; it lasts if `end` is None."""

    kind: str
    label: str
    start: float
    end: float | None
    outcome: str | None = None


@dataclass(frozen=True)
class TimelineRow:
    """What happened one after the other to a lane, a prepare or a job."""

    label: str
    words: str
    secs: float | None
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class LogFile:
    """A log of a job, in bytes."""

    kind: str
    bytes: int


@dataclass(frozen=True)
class JobLine:
    """A job of an attempt's run."""

    id: str
    description: str
    status: str
    failure_kind: str | None
    cause: Cause | None
    host: str | None
    exit_code: int | None
    tries: int
    started_at: float | None
    finished_at: float | None
    logs: tuple[LogFile, ...]
    artifacts: tuple[str, ...]


@dataclass(frozen=True)
class JobTests:
    """What the test reports of a job say."""

    job: str
    tests: TestSummary


@dataclass(frozen=True)
class Recorded:
    """What the run record of an attempt says; `problem` is why there is nothing, or not all."""

    attempt: Attempt
    status: str | None
    problem: str | None
    timeline: tuple[TimelineRow, ...]
    jobs: tuple[JobLine, ...]
    tests: tuple[JobTests, ...] = ()
