"""The lines of events.jsonl and of `--output jsonl`.

Each is one JSON object: `event`, `schema_version`, `seq` (gapless from 0), `ts`, `run_id`, and what
the event itself carries. `run_finished` is always the last.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from jerichoci.plan.model import SCHEMA_VERSION, Id, Model, RunId, Timestamp
from jerichoci.plan.rule import field
from jerichoci.record.record import Cause, JobRecord, RunRecord
from jerichoci.status import FailureKind, Outcome, PhaseName


class EventBase(Model):
    """What every event has; the journal stamps `seq`, `ts` and `run_id`."""

    schema_version: int = SCHEMA_VERSION
    seq: int = field(default=0, ge=0)
    ts: Timestamp = ""
    run_id: RunId | Literal[""] = ""


class RunStarted(EventBase):
    """The run's directory exists and its plan is fixed."""

    event: Literal["run_started"] = "run_started"
    run: RunRecord


class PrepareStarted(EventBase):
    """A prepare node is being made."""

    event: Literal["prepare_started"] = "prepare_started"
    node_id: Id
    prepare_id: Id | None = None
    """The author's id of it, if there is one."""
    description: str = ""
    needed_by: list[Id] = field(default_factory=list)
    """The jobs whose host logs have what it prints."""


class PrepareFinished(EventBase):
    """A prepare node is there, or can't be had."""

    event: Literal["prepare_finished"] = "prepare_finished"
    node_id: Id
    outcome: Outcome
    cached: bool
    duration_ms: int
    cause: Cause | None = None


class JobStarted(EventBase):
    """An attempt at a job has its slot and begins."""

    event: Literal["job_started"] = "job_started"
    job_id: Id
    attempt: int


class JobPhase(EventBase):
    """A phase of a job began (`started`) or ended."""

    event: Literal["job_phase"] = "job_phase"
    job_id: Id
    phase: PhaseName
    outcome: Outcome
    duration_ms: int | None = None


class Heartbeat(EventBase):
    """The run is alive; the ids of the jobs that run, and what Nix does for it now."""

    event: Literal["heartbeat"] = "heartbeat"
    running: list[Id]
    building: list[str] = field(default_factory=list)
    """The names of derivations."""
    fetching: list[str] = field(default_factory=list)
    """The names of store paths."""
    built: int = 0
    to_build: int = 0
    """How many derivations; `built` of these are done."""
    copying: list[str] = field(default_factory=list)
    """The names of the store paths that are copied to another store."""


class JobFinished(EventBase):
    """A job has its final record."""

    event: Literal["job_finished"] = "job_finished"
    job: JobRecord
    failure_kind: FailureKind | None = None


class RunFinished(EventBase):
    """The run has its final record."""

    event: Literal["run_finished"] = "run_finished"
    run: RunRecord


Event = Annotated[
    RunStarted
    | PrepareStarted
    | PrepareFinished
    | JobStarted
    | JobPhase
    | Heartbeat
    | JobFinished
    | RunFinished,
    field(discriminator="event"),
]


def parse_event(values: dict[str, Any]) -> Event:
    """An event from its JSON values."""
    from jerichoci.plan.validation import validate

    event: Event = validate(Event, values)
    return event
