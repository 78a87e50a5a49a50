"""run.json, status.json and prepared-outputs.json: what lasts of a run.

Paths inside a record are relative to its run directory, except `source_root` and `snapshot_dir`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from jerichoci.plan.model import SCHEMA_VERSION, Id, Model, RunId, Timestamp
from jerichoci.plan.rule import field
from jerichoci.state.clock import timestamp
from jerichoci.status import (
    CauseCode,
    FailureKind,
    Outcome,
    PhaseName,
    Status,
    TestFormat,
    TestStatus,
)

NAMED_FAILURES = 5
"""Tests that a message names."""
NAMED_CHARS = 80
"""Of the name of each."""


class Cause(Model):
    """Why something failed: where, a code for programs, a sentence and a hint for people."""

    phase: str | None = None
    code: CauseCode | str
    message: str
    hint: str | None = None
    got_hash: str | None = None
    """The hash that a fixed output of Nix has, where another one was specified."""


class PhaseRecord(Model):
    """One step of an attempt, timed in milliseconds."""

    phase: PhaseName | str
    started_at: Timestamp
    finished_at: Timestamp | None = None
    duration_ms: int | None = None
    outcome: Outcome | str


class ArtifactRecord(Model):
    """A file that a job left: path below `artifacts/files`, size in bytes, SHA-256 in hex."""

    path: str
    bytes: int = field(ge=0)
    sha256: str


class TestCase(Model):
    """A test in a report; a line of `tests.jsonl`. All but the first three may be unknown.

    Texts are plain and bounded. `file` and `line` are where a failure is, as the report has it.
    """

    __test__: ClassVar = False  # for pytest: this is no test

    name: str
    suite: str = ""
    status: TestStatus | str
    duration_ms: int | None = None
    file: str | None = None
    line: int | None = None
    message: str | None = None


class TestReport(Model):
    """An artifact that is a test report; `unreadable` is why it was not read to its end."""

    __test__: ClassVar = False

    path: str
    format: TestFormat | str
    unreadable: str | None = None


class TestSummary(Model):
    """What a job's test reports say. `failures` are the first that failed, with their errors.

    Only `total`, `passed`, `failed`, `errors` and `skipped` count every test that was read.
    """

    __test__: ClassVar = False

    total: int = field(default=0, ge=0)
    passed: int = field(default=0, ge=0)
    failed: int = field(default=0, ge=0)
    errors: int = field(default=0, ge=0)
    skipped: int = field(default=0, ge=0)
    duration_ms: int | None = None
    reports: list[TestReport] = []
    failures: list[TestCase] = []

    @property
    def bad(self) -> int:
        """How many failed, or could not."""
        return self.failed + self.errors

    def in_words(self) -> str:
        """`3 of 650 tests failed: a, b, c`, `2 errors: d, e`, or `650 tests passed`."""
        if not self.bad:
            skipped = f", {self.skipped} skipped" if self.skipped else ""
            return f"{_count(self.passed, 'test')} passed{skipped}" if self.total else "no tests"
        names = [row.name[:NAMED_CHARS] for row in self.failures[:NAMED_FAILURES]]
        more = ["..."] if self.bad > len(names) else []
        what = f"{self.bad} of {_count(self.total, 'test')} failed"
        if self.errors == self.total:
            what = _count(self.errors, "error")
        return f"{what}: {', '.join([*names, *more])}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


class PassedOver(Model):
    """A host that a job could have run on and did not: it could not be reached or set up."""

    host: str
    reason: str
    at: Timestamp


class AttemptRecord(Model):
    """One try at a job."""

    number: int = field(ge=1)
    host: str | None = None
    status: Status
    failure_kind: FailureKind | None = None
    cause: Cause | None = None
    host_log_path: str
    guest_log_path: str
    started_at: Timestamp
    finished_at: Timestamp | None = None
    exit_code: int | None = None
    notes: list[str] = []
    phases: list[PhaseRecord] = []
    execution: dict[str, Any] = {}
    artifacts: list[ArtifactRecord] = []
    tests: TestSummary | None = None


class JobRecord(Model):
    """A job and all its attempts; `status.json`. What is loose on it is the last attempt's."""

    schema_version: int = SCHEMA_VERSION
    id: Id
    description: str = ""
    status: Status
    failure_kind: FailureKind | None = None
    cause: Cause | None = None
    placement: str
    runtime: str
    host: str | None = None
    passed_over: list[PassedOver] = []
    plan_node_id: str
    attempt: int = 0
    attempts: list[AttemptRecord] = []
    timeout_secs: int
    host_log_path: str | None = None
    guest_log_path: str | None = None
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    exit_code: int | None = None
    message: str | None = None
    notes: list[str] = []
    phases: list[PhaseRecord] = []
    execution: dict[str, Any] = {}
    pass_env: dict[str, str | None] = field(
        default={}, description="by name the keyed digest of its value; null for an absent one"
    )
    artifacts: list[ArtifactRecord] = []
    tests: TestSummary | None = None

    def cut_short(self, status: Status, kind: FailureKind | None, cause: Cause) -> JobRecord:
        """The job as it ends when its last attempt could not be brought to its own end."""
        end: dict[str, Any] = {"status": status, "failure_kind": kind, "cause": cause}
        end["finished_at"] = timestamp()
        rows = [row.with_(**end) if row.status is Status.RUNNING else row for row in self.attempts]
        return self.with_(**end, attempts=rows, message=cause.message)

    def after(self, attempt: AttemptRecord) -> JobRecord:
        """The job with `attempt` as its last one; an earlier record of that attempt is replaced."""
        earlier = [row for row in self.attempts if row.number != attempt.number]
        same = {name: getattr(attempt, name) for name in _OF_LAST_ATTEMPT}
        return self.with_(**same, attempt=attempt.number, attempts=[*earlier, attempt])


_OF_LAST_ATTEMPT = {*AttemptRecord.model_fields} & {*JobRecord.model_fields} - {
    *("host", "started_at", "finished_at")
}


class PrepareTiming(Model):
    """When a prepare node was made and how long it took; `cached` if it was there already."""

    node_id: Id
    prepare_id: Id | None = None
    started_at: Timestamp
    finished_at: Timestamp | None = None
    duration_ms: int | None = None
    cached: bool = False
    outcome: Outcome | str = Outcome.STARTED


class Tool(Model):
    """What ran the run."""

    version: str
    nix_version: str | None = None


class RunRecord(Model):
    """One execution of a plan; `run.json`."""

    schema_version: int = SCHEMA_VERSION
    run_id: RunId
    status: Status
    failure_kind: FailureKind | None = None
    cause: Cause | None = None
    rerun_of: RunId | None = None
    reused_run: RunId | None = field(
        default=None, description="the run of the same that passed, whose verdict this takes"
    )
    batch: RunId | None = field(
        default=None, description="id of the batch: of the runs that one command started"
    )
    branch: str | None = field(default=None, description="it is of, as `--branch` said")
    annotations: dict[str, str] = field(
        default={}, description="what its starter noted: `--annotate`"
    )
    target_id: Id
    target_description: str = ""
    partial: bool = field(default=False, description="whether jobs were left out: `--job`")
    system: str
    source_root: str | None = None
    source_rev: str | None = None
    source_url: str | None = field(default=None, description="of `--source`, without credentials")
    overrides: dict[str, str] = field(
        default={}, description="inputs of the flake that were replaced: `--override-input`"
    )
    source_tree: str | None = field(
        default=None, description="tree the flake was evaluated at; snapshot_id before exclusion"
    )
    snapshot_dir: str | None = None
    snapshot_id: str | None = None
    flake_dir: str | None = field(default=None, description="where in the tree flake.nix lies")
    git_head: str | None = None
    git_dirty: bool | None = None
    created_at: Timestamp
    estimated_ms: int | None = field(
        default=None, description="what it was expected to take, by the runs before it"
    )
    finished_at: Timestamp | None = None
    plan_path: str = "plan.json"
    plan_digest: str
    prepared_outputs_path: str = "prepared-outputs.json"
    changed_files: list[str] = []
    filters: list[str] = []
    message: str | None = None
    notes: list[str] = field(default=[], description="facts that did not change the result")
    prepare_timings: list[PrepareTiming] = []
    jobs: list[JobRecord] = []
    tool: Tool
    problems: list[str] = field(default=[], description="what a reader had to leave out")


class PreparedPlace(Model):
    """A prepare node's result on one host: where it is there, and how it came.

    `how` is `valid` if it was there already, `built` or `copied`, or for what a host command left
    `command`, or `cached` if it did so in an earlier run; null if it failed.
    `bytes_moved` is what went over the connection for it.
    `gc_root` is relative to the run directory on the orchestrator's own host, absolute elsewhere.
    """

    host: str
    outcome: Outcome | str
    how: str | None = None
    bytes_moved: int = 0
    path: str | None = None
    gc_root: str | None = None
    cause: Cause | None = None


class OutputCopy(Model):
    """A prepared output's copy in another store of Nix; `message` is why there is none."""

    store: str
    outcome: Outcome | str
    message: str | None = None


class PreparedOutput(Model):
    """A prepare node's result on the host that made it: `path` is null if it failed."""

    node_id: Id
    prepare_id: Id | None = None
    type: str
    outcome: Outcome | str
    cached: bool = False
    path: str | None = None
    drv_path: str | None = None
    gc_root: str | None = None
    cause: Cause | None = None
    places: list[PreparedPlace] = []
    copies: list[OutputCopy] = field(default=[], description="in other stores: `--copy-to`")


class PreparedOutputs(Model):
    """`prepared-outputs.json`."""

    schema_version: int = SCHEMA_VERSION
    run_id: RunId
    outputs: list[PreparedOutput] = []
    problems: list[str] = field(default=[], description="what a reader had to leave out")
