"""The JSON Schemas of records and of what commands print with `--json`: `python -m pikaci.schemas`.

The models here only describe: a test compares them with what the commands print.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from jerichoci.plan.model import SCHEMA_VERSION, Id, Model, RunId, Timestamp
from jerichoci.plan.plan import Plan
from jerichoci.plan.validation import adapter
from jerichoci.record.event import Event
from jerichoci.record.record import JobRecord, PreparedOutputs, RunRecord
from jerichoci.status import FailureKind, Status
from pikaci.lanes import Trigger
from pikaci.plan_set import PlanError, PlanSource
from pikaci.report.failures import Failures

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class ListedRun(Model):
    """A run in `list --json`; all but `run_id` is null if the record is unreadable."""

    run_id: RunId
    batch: str | None
    status: Status | str | None
    failure_kind: FailureKind | str | None
    target_id: Id | None
    partial: bool
    created_at: Timestamp | None
    finished_at: Timestamp | None
    message: str | None
    unreadable: str | None
    """Why the record can't be read."""


class RunOfBatch(Model):
    """A run of a batch."""

    run_id: RunId
    target_id: Id


class Batch(Model):
    """`batches/<batch id>.json`: the runs that one command started, in its order."""

    schema_version: int = SCHEMA_VERSION
    batch: RunId
    created_at: Timestamp
    runs: list[RunOfBatch]


class BatchRecords(Model):
    """What `status BATCH --json` prints, and `run --output json` of several targets."""

    schema_version: int = SCHEMA_VERSION
    batch: RunId | None
    """Null if no lane was selected."""
    runs: list[RunRecord]
    problems: list[str]
    """Which record can't be read, and why."""


class ListedTarget(Model):
    """A target in `targets --json`."""

    id: Id
    title: str | None
    description: str | None
    trigger: Trigger | str
    jobs: list[Id]


class ListedLane(Model):
    """A lane in `lanes --json`; without `paths` it always runs."""

    id: Id
    title: str
    target: Id
    trigger: Trigger
    paths: list[str]
    concurrency_group: str | None


class SelectedLane(Model):
    """A lane in `select --json`, and why it is or is not selected."""

    id: Id
    title: str
    target: Id
    trigger: Trigger
    concurrency_group: str | None
    selected: bool
    reason: str
    matched_path: str | None
    matched_glob: str | None


class Selection(Model):
    """What `select --json` prints; `base` and `head` are commits."""

    schema_version: int = SCHEMA_VERSION
    base: str
    head: str
    changed_files: list[str]
    lanes: list[SelectedLane]


class PlannedTarget(Model):
    """A target in a plan set: its plan and the source its jobs run on, or an error."""

    target_id: Id
    plan: Plan | None
    plan_digest: str | None
    source: PlanSource | None
    error: PlanError | None


class PlanSet(Model):
    """What `plan --set` prints and `run --plan` takes; `lanes` are empty if targets were named."""

    schema_version: int = SCHEMA_VERSION
    base: str | None
    head: str | None
    nightly_schedule_utc: str | None
    changed_files: list[str]
    lanes: list[SelectedLane]
    plans: list[PlannedTarget]


def described() -> dict[str, Any]:
    """What has a schema, by name; what a command prints has the command's name."""
    return {
        "plan": Plan,
        "run": RunRecord,
        "job": JobRecord,
        "prepared-outputs": PreparedOutputs,
        "batch": Batch,
        "event": Event,
        "status": RunRecord | BatchRecords,
        "list": list[ListedRun],
        "targets": list[ListedTarget],
        "lanes": list[ListedLane],
        "select": Selection,
        "plan-set": PlanSet,
        "failures": Failures,
    }


def schema_text(kind: Any) -> str:  # noqa: ANN401 - a type
    """The schema of a type as the file under `schema/` has it."""
    schema = {"$schema": DIALECT, **adapter(kind).json_schema(mode="serialization")}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schemas(directory: Path) -> None:
    """Write every schema into `directory`."""
    for name, kind in described().items():
        (directory / f"{name}.schema.json").write_text(schema_text(kind))


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
