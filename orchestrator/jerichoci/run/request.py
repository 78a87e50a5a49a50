"""What the engine is asked to do, and the record a run begins with."""

from __future__ import annotations

import os
from dataclasses import field
from typing import TYPE_CHECKING

from jerichoci.nix.command import NixOptions
from jerichoci.plan.plan import ExecuteNode, Plan, plan_digest
from jerichoci.record.record import Cause, JobRecord, RunRecord, Tool
from jerichoci.state.clock import timestamp
from jerichoci.state.dataclass import dataclass
from jerichoci.status import CacheUse, CauseCode, KeepPolicy, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jerichoci.state.layout import StateLayout


@dataclass(frozen=True)
class Source:
    """Where a run's files come from."""

    tree: str
    snapshot_id: str
    root: str | None = None
    rev: str | None = None
    flake_dir: str | None = None
    git_head: str | None = None
    git_dirty: bool | None = None
    url: str | None = None
    """Where it was fetched from, without credentials."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """The inputs of the flake that were replaced: `--override-input`."""


@dataclass(frozen=True)
class RunRequest:
    """What to run and how."""

    plan: Plan
    source: Source
    tool: Tool
    run_id: str | None = None
    jobs: frozenset[str] | None = None
    """The jobs asked for, with all they need; None means all."""
    max_jobs: int | None = None
    fail_fast: bool = False
    branch: str | None = None
    """Which it is of, as its caller says; some secrets are only for certain ones."""
    keep: KeepPolicy = KeepPolicy.NEVER
    wait_removal: bool = False
    """Whether the run is over only when the guests it made are gone."""
    rerun_of: str | None = None
    estimated_ms: int | None = None
    """What it is expected to take, for its record."""
    batch: str | None = None
    """The id of the batch that it is one of."""
    cache_use: CacheUse = CacheUse.WRITE
    copy_to: str | None = None
    """The store of Nix that gets what this machine has of the prepared outputs."""
    changed_files: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    skip_reason: str | None = None
    reuses: str | None = None
    """The run whose verdict it takes."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    nix: NixOptions = field(default_factory=NixOptions)

    def selected(self) -> set[str]:
        """The ids of the nodes that are to run: the jobs asked for, and all they need."""
        asked = {
            node.id for node in self.plan.jobs if self.jobs is None or node.job_id in self.jobs
        }
        return self.plan.closure(asked)

    def only(self) -> list[str] | None:
        """The ids of the jobs that are to run; None means all."""
        selected = self.selected()
        jobs = [node.job_id for node in self.plan.jobs if node.id in selected]
        return None if len(jobs) == len(self.plan.jobs) else jobs


def first_record(state: StateLayout, request: RunRequest, plan: Plan) -> RunRecord:
    """The record of a run that has just begun; `plan` is stamped with its id and time."""
    source, selected = request.source, request.selected()
    return RunRecord(
        run_id=plan.run_id or "",
        status=Status.RUNNING,
        rerun_of=request.rerun_of,
        estimated_ms=request.estimated_ms,
        batch=request.batch,
        branch=request.branch,
        annotations=dict(request.annotations),
        target_id=plan.target_id,
        target_description=plan.target_description,
        partial=not request.skip_reason and any(node.id not in selected for node in plan.jobs),
        system=plan.system,
        source_root=source.root,
        source_rev=source.rev,
        source_tree=source.tree,
        snapshot_dir=str(state.snapshots / source.snapshot_id),
        snapshot_id=source.snapshot_id,
        flake_dir=source.flake_dir,
        git_head=source.git_head,
        git_dirty=source.git_dirty,
        source_url=source.url,
        overrides=dict(source.overrides),
        created_at=plan.created_at or "",
        plan_digest=plan_digest(plan),
        changed_files=list(request.changed_files),
        filters=list(request.filters),
        jobs=[_first_job_record(state, node) for node in plan.jobs],
        tool=request.tool,
    )


def _first_job_record(state: StateLayout, node: ExecuteNode) -> JobRecord:
    return JobRecord(
        id=node.job_id,
        description=node.description,
        status=Status.RUNNING,
        placement=node.placement,
        runtime=node.runtime,
        plan_node_id=node.id,
        timeout_secs=node.execute.timeout_secs,
        pass_env=_passed(state, node.execute.pass_env),
    )


def _passed(state: StateLayout, names: Sequence[str]) -> dict[str, str | None]:
    if not names:
        return {}
    from jerichoci.world.tools import fingerprints

    return fingerprints(names, os.environ, state.owner_id())


def skipped_record(record: RunRecord, reason: str) -> RunRecord:
    """The terminal record of a run that filters skip."""
    cause = Cause(code=CauseCode.FILTERED, message=reason)
    jobs = [job.with_(status=Status.SKIPPED, cause=cause, message=reason) for job in record.jobs]
    end = {"status": Status.SKIPPED, "cause": cause, "message": reason}
    return record.with_(**end, finished_at=timestamp(), jobs=jobs)
