"""The records of a lane's runs, as pikaci left them.

A record that can't be read is shown without what is damaged, and says so in `problems`. Where a
run's directory was removed, what asks for a part of it gets GoneError.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jerichoci import LogKind, RecordError, RunStore, Status, UsageError
from pika_git.forge_service.errors import GoneError, MissingError
from pika_git.persistence import attempts
from pika_git.persistence.attempts import LaneRun  # noqa: TC001 - the API reads it at run time

if TYPE_CHECKING:
    from pathlib import Path

    from pika_git.forge_service.forge import Forge
    from pika_git.persistence.attempts import Attempt

MOST_LOG_BYTES = 4 * 1024 * 1024
"""How much of the logs of a run one answer has."""


@dataclass(frozen=True)
class LogFile:
    """One log: what the host did for a try at a job, or what the job printed in a guest."""

    store: RunStore
    run_id: str
    attempt: int
    job: str
    job_attempt: int
    kind: LogKind

    @property
    def path(self) -> Path:
        """Where it is; it need not exist yet."""
        return self.store.log_path(self.run_id, self.job, self.kind, self.job_attempt)

    def is_over(self) -> bool:
        """Whether nothing more of it will be written."""
        if not self.store.is_running(self.run_id):
            return self.store.is_over(self.run_id)
        try:
            job = json.loads(self.store.run(self.run_id).status(self.job).read_bytes())
            return bool(job["attempt"] > self.job_attempt or job["status"] != Status.RUNNING)
        except (OSError, ValueError, TypeError, KeyError):
            return False  # it has not begun, or its record is damaged: the run's end tells

    def next_attempt(self) -> int | None:
        """The try at the job that came after this one, which has a log of its own."""
        newest = _newest(self.store, self.run_id, self.job)
        return self.job_attempt + 1 if newest > self.job_attempt else None

    def is_gone(self) -> bool:
        """Whether the run's directory was removed."""
        return not has_records(self.store, self.run_id)


def store_of(forge: Forge, repo_id: int) -> RunStore:
    """The runs of a repository."""
    return RunStore(forge.data.state_root(repo_id))


def has_records(store: RunStore, run_id: str) -> bool:
    """Whether a run's directory is there."""
    try:
        store.run(run_id)
    except UsageError:
        return False
    return True


def attempt_of(forge: Forge, lane: int, number: int | None) -> Attempt:
    """An attempt of a lane, the newest one if `number` is None."""
    with forge.database.read() as connection:
        found = attempts.of_lane(connection, lane, number)
    if found is None:
        which = "no attempt yet" if number is None else f"no attempt {number}"
        raise MissingError(f"lane {lane} has {which}, or there is no such lane")
    return found


def find_log(
    store: RunStore, attempt: Attempt, job: str | None, kind: LogKind, job_attempt: int | None
) -> LogFile:
    """A log of an attempt whose run has begun; the first job's and the newest try's by default."""
    run_id = attempt.pikaci_run_id
    known = jobs_of(store, run_id)
    if job is None and known:
        job = known[0]
    if job not in known:
        text = f"run {run_id} has no job {job}" if job else f"run {run_id} has no job yet"
        raise MissingError(text, f"it has {', '.join(known)}" if known else None)
    if job_attempt is None:
        job_attempt = _newest(store, run_id, job)
    return LogFile(store, run_id, attempt.number, job, job_attempt, kind)


def jobs_of(store: RunStore, run_id: str) -> list[str]:
    """The jobs of a run in the order of its plan; GoneError if its records were removed."""
    try:
        return store.job_ids(run_id)
    except UsageError:
        raise GoneError(f"the records of run {run_id} were removed") from None


def _newest(store: RunStore, run_id: str, job: str) -> int:
    path = store.log_path(run_id, job, LogKind.HOST)
    return int(path.parent.name)


def of_pikaci_run(forge: Forge, run_id: str) -> RunStore:
    """The store that has a run of the forge's, by its id."""
    with forge.database.read() as connection:
        found = attempts.of_pikaci_run(connection, run_id)
    if found is None:
        raise MissingError(f"there is no run {run_id!r}")
    store = store_of(forge, found.repo_id)
    if not has_records(store, run_id):
        raise GoneError(f"the records of run {run_id} were removed")
    return store


def run_record(store: RunStore, run_id: str) -> dict[str, Any]:
    """A run's record; one that can't be read is its id and why."""
    try:
        return store.load_run_record(run_id).model_dump()
    except (RecordError, UsageError, OSError) as error:
        return {"run_id": run_id, "status": None, "problems": [str(error)]}


def prepared_outputs(store: RunStore, run_id: str) -> dict[str, Any]:
    """What a run prepared; where that can't be read, why."""
    try:
        return store.load_prepared_outputs(run_id).model_dump()
    except (RecordError, UsageError, OSError) as error:
        return {"run_id": run_id, "outputs": [], "problems": [str(error)]}


@dataclass(frozen=True)
class LogRow:
    """A log's place below the run's directory, and its size."""

    job_id: str
    kind: str
    path: str
    exists: bool
    bytes: int


def log_rows(store: RunStore, run_id: str) -> list[LogRow]:
    """Both logs of each job."""
    layout = store.run(run_id)
    return [
        LogRow(row.job_id, row.kind, layout.relative(row.path), row.exists, row.bytes)
        for row in store.load_logs_metadata(run_id)
    ]


@dataclass(frozen=True)
class LogText:
    """The end of a log as text, from a byte offset; bytes that are no UTF-8 are replaced."""

    job_id: str
    kind: str
    text: str
    offset: int
    next_offset: int
    size: int


def log_texts(
    store: RunStore, run_id: str, job: str | None, kind: LogKind, limit: int
) -> list[LogText]:
    """The last `limit` bytes of each log that is asked for, MOST_LOG_BYTES in all."""
    known = jobs_of(store, run_id)
    if job is not None and job not in known:
        raise MissingError(f"run {run_id} has no job {job}", f"it has {', '.join(known)}")
    left, found = MOST_LOG_BYTES, []
    for row in log_rows(store, run_id):
        if job not in {None, row.job_id} or kind not in {LogKind.BOTH, row.kind}:
            continue
        size = min(limit, left)
        chunk = store.load_logs(
            run_id, row.job_id, LogKind(row.kind), max(0, row.bytes - size), size
        )
        left -= len(chunk.data)
        text = chunk.data.decode("utf-8", "replace")
        found.append(
            LogText(row.job_id, row.kind, text, chunk.offset, chunk.next_offset, row.bytes)
        )
    return found


@dataclass(frozen=True)
class LaneLogs:
    """A lane of a branch's newest run, with its run's record and what logs there are."""

    lane: LaneRun
    pikaci_run: dict[str, Any] | None
    pikaci_log_metadata: list[LogRow] | None
    problems: list[str]


def branch_logs(forge: Forge, branch: int) -> list[LaneLogs]:
    """The lanes of a branch's newest run, each with its records."""
    from pika_git.forge_service.recovery import require

    with forge.database.read() as connection:
        require(connection, "branch", branch)
        lanes = attempts.of_branch(connection, branch)
    return [_lane_logs(forge, lane) for lane in lanes]


def _lane_logs(forge: Forge, lane: LaneRun) -> LaneLogs:
    if lane.pikaci_run_id is None:
        return LaneLogs(lane, None, None, [])
    store = store_of(forge, lane.repo_id)
    try:
        rows = log_rows(store, lane.pikaci_run_id)
    except (RecordError, UsageError, OSError) as error:
        return LaneLogs(lane, None, None, [str(error)])
    return LaneLogs(lane, run_record(store, lane.pikaci_run_id), rows, [])
