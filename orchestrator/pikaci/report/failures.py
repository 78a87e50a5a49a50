"""What failed in a run and why, for people and programs: the cause first, then the log.

A prepare that failed is named once, with the jobs that it kept from running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from jerichoci.errors import PikaciError
from jerichoci.plan.model import SCHEMA_VERSION, Id, Model, RunId
from jerichoci.record.record import Cause, TestSummary
from jerichoci.status import PREPARE_PHASE, CauseCode, FailureKind, LogKind, Outcome, Status
from pikaci.location import state_option
from pikaci.printed import Split, joined, names_of, reader
from pikaci.report.telling import Telling, choose

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jerichoci.record.record import JobRecord, PreparedOutput, RunRecord
    from jerichoci.record.store import RunStore


class Failure(Model):
    """A job or a prepare that failed, or the run itself where no job of it did.

    `message` is the job's, which may say more than that of its cause: which tests failed.
    """

    kind: Literal["job", "prepare", "run"]
    id: str
    """The job's id, the prepare's as its catalog has it, or the run's."""
    node_id: str | None
    """Its node in the plan; null for a run."""
    failure_kind: FailureKind | str | None
    cause: Cause | None
    message: str
    exit_code: int | None = None
    attempts: int = 0
    host: str | None = None
    jobs: list[Id] = []
    """The jobs that did not run because a prepare failed."""
    tests: TestSummary | None = None
    """The `tests` of the job's record, with the names of those that failed."""
    log: Telling = Telling()
    command: str
    """What prints all of its log."""


class NotRun(Model):
    """A job that was skipped because of a failure, and why."""

    id: Id
    message: str


class RunFailures(Model):
    """What failed in one run; all but `run_id` and `unreadable` is empty for an unreadable one."""

    run_id: RunId
    target_id: Id | None = None
    status: Status | str | None = None
    failure_kind: FailureKind | str | None = None
    message: str | None = None
    failures: list[Failure] = []
    not_run: list[NotRun] = []
    problems: list[str] = []
    """What of the records could not be read."""
    unreadable: str | None = None
    """Why the record can't be read."""

    @property
    def own_message(self) -> str | None:
        """The message of the run, unless one of its failures has the same."""
        return None if self.message in {each.message for each in self.failures} else self.message


class Failures(Model):
    """What `pikaci failures --json` prints: the runs, in the order of their batch."""

    schema_version: int = SCHEMA_VERSION
    runs: list[RunFailures]


def failures_of(store: RunStore, run_id: str) -> RunFailures:
    """What failed in a run, as it stands."""
    try:
        record = store.load_run_record(run_id)
    except PikaciError as error:
        return RunFailures(run_id=run_id, unreadable=error.message)
    return _Finder(store, record).found()


class _Finder:
    def __init__(self, store: RunStore, record: RunRecord) -> None:
        self._store, self._record = store, record
        self._problems = list(record.problems)
        self._names = names_of(store, record.run_id)
        self._needs: Mapping[str, list[str]] | None = None
        self._read_plan()
        self._option = state_option(store.layout)

    def found(self) -> RunFailures:
        record = self._record
        prepares = list(self._prepares())
        jobs = [self._job(job) for job in record.jobs if self._is_own_failure(job, prepares)]
        failures = [*prepares, *jobs]
        if record.status is Status.FAILED and not failures:
            failures = [self._run()]
        skipped = [job for job in record.jobs if _is_kept_from_running(job)]
        return RunFailures(
            run_id=record.run_id,
            target_id=record.target_id,
            status=record.status,
            failure_kind=record.failure_kind,
            message=record.message,
            failures=failures,
            not_run=[NotRun(id=job.id, message=job.message or "") for job in skipped],
            problems=self._problems,
        )

    def _read_plan(self) -> None:
        try:
            plan = self._store.load_plan(self._record.run_id)
        except PikaciError as error:
            self._problems.append(error.message)
            return
        self._needs = {node.id: node.depends_on for node in plan.nodes}

    def _prepares(self) -> Iterator[Failure]:
        try:
            outputs = self._store.load_prepared_outputs(self._record.run_id).outputs
        except PikaciError as error:
            self._problems.append(error.message)
            return
        for output in outputs:
            if output.outcome == Outcome.FAILED and output.cause:
                yield self._prepare(output)

    def _prepare(self, output: PreparedOutput) -> Failure:
        cause = output.cause
        assert cause is not None  # noqa: S101 - for mypy
        kept = [job for job in self._record.jobs if self._failed_by(job, output)]
        kinds = [job.failure_kind for job in kept if job.cause == cause]
        teller = kept[0].id if kept else None
        name = self._names.get(output.node_id, output.node_id)
        job_option = f" --job {teller}" if teller else ""
        return Failure(
            kind="prepare",
            id=name,
            node_id=output.node_id,
            failure_kind=kinds[0] if kinds else None,
            cause=cause,
            message=cause.message,
            jobs=[job.id for job in kept],
            log=self._telling(teller, name) if teller else Telling(),
            command=f"pikaci logs {self._record.run_id}{job_option}{self._option}",
        )

    def _failed_by(self, job: JobRecord, output: PreparedOutput) -> bool:
        cause = job.cause
        if job.status is not Status.FAILED or cause is None or cause.phase != PREPARE_PHASE:
            return False
        needs = self._needs
        return (
            cause == output.cause
            if needs is None
            else output.node_id in needs.get(job.plan_node_id, [])
        )

    def _is_own_failure(self, job: JobRecord, prepares: list[Failure]) -> bool:
        told = {each for failure in prepares for each in failure.jobs}
        return job.status is Status.FAILED and job.id not in told

    def _job(self, job: JobRecord) -> Failure:
        cause = job.cause
        return Failure(
            kind="job",
            id=job.id,
            node_id=job.plan_node_id,
            failure_kind=job.failure_kind,
            cause=cause,
            message=job.message or (cause.message if cause else "failed"),
            exit_code=job.exit_code,
            attempts=job.attempt,
            host=job.host,
            tests=job.tests,
            log=self._telling(job.id),
            command=f"pikaci logs {self._record.run_id} --job {job.id}{self._option}",
        )

    def _run(self) -> Failure:
        record, cause = self._record, self._record.cause
        return Failure(
            kind="run",
            id=record.run_id,
            node_id=None,
            failure_kind=record.failure_kind,
            cause=cause,
            message=record.message or (cause.message if cause else "failed"),
            command=f"pikaci logs {record.run_id}{self._option}",
        )

    def _telling(self, job_id: str, prepare: str | None = None) -> Telling:
        of_job = (self._store, self._record.run_id, job_id)
        host = Split(reader(*of_job, LogKind.HOST))
        if prepare:
            return choose(host.before(), label=f"{prepare}> ".encode())
        first = host.skip() + 1
        return choose(joined([host.after(), reader(*of_job, LogKind.GUEST).rest()]), first)


def _is_kept_from_running(job: JobRecord) -> bool:
    return (
        job.status is Status.SKIPPED
        and job.cause is not None
        and job.cause.code == CauseCode.DEPENDENCY_FAILED
    )
