"""A plan set: the plans of several targets at one snapshot, from one evaluation, as a file.

`pikaci run --plan FILE` runs one of them later, without evaluating. It has what a run has to know
of its source beside the plan. Of the lanes of a change it says which were selected, and why. A
target without a plan has an error in its place and takes no other with it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError, PikaciError, UsageError
from jerichoci.plan.known import read_plan
from jerichoci.plan.model import Model
from jerichoci.plan.plan import NixBuild, plan_digest
from jerichoci.plan.rule import ValidationError, field
from jerichoci.run.request import Source
from jerichoci.snapshot.repository import open_repository
from jerichoci.state.dataclass import dataclass
from pikaci.location import SourceTree
from pikaci.sourcing import Planned, jobs_source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jerichoci.plan.plan import Plan
    from jerichoci.state.layout import StateLayout
    from pikaci.evaluation import Evaluated
    from pikaci.selection import SelectionReport
    from pikaci.sourcing import Taken

PLAN_SET_SCHEMA_VERSION = 1
_TREE = r"^[0-9a-f]{40}$"
_HINT = "`pikaci plan TARGET... --set` prints one"


class PlanError(Model):
    """Why a target has no plan; `exit_code` is that of `pikaci plan` of it alone."""

    message: str
    hint: str | None = None
    exit_code: int


class PlanSource(Model):
    """What a plan was evaluated at, and its jobs run on: `snapshot_id` is a part of `tree`."""

    tree: str = field(pattern=_TREE)
    snapshot_id: str = field(pattern=_TREE)
    root: str | None = None
    rev: str | None = None
    flake_dir: str | None = None
    git_head: str | None = None
    git_dirty: bool | None = None
    url: str | None = None
    overrides: dict[str, str] = field(default={})
    nix_version: str | None = None

    def source(self) -> Source:
        """The source of a run."""
        values = self.model_dump()
        del values["nix_version"]
        return Source(**values)


@dataclass(frozen=True)
class PlannedTarget:
    """A target of a set: its plan and source, or an error."""

    target_id: str
    plan: dict[str, Any] | None = None
    plan_digest: str | None = None
    source: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    @classmethod
    def of(cls, planned: Planned) -> PlannedTarget:
        """A target that has a plan."""
        plan = planned.plan
        source = PlanSource(**asdict(planned.source), nix_version=planned.nix_version)
        return cls(plan.target_id, plan.dump(), plan_digest(plan), source.model_dump())

    @classmethod
    def without_plan(cls, target: str, error: PikaciError) -> PlannedTarget:
        """A target that has no plan."""
        found = PlanError(message=error.message, hint=error.hint, exit_code=error.exit_code)
        return cls(target, error=found.model_dump())


@dataclass(frozen=True)
class PlanSet:
    """Plans, and how lanes were selected, if lanes were asked for."""

    plans: tuple[PlannedTarget, ...]
    report: SelectionReport | None = None

    def as_json(self) -> dict[str, Any]:
        """Its form in JSON."""
        report = self.report
        selection: dict[str, Any] = {"base": None, "head": None, "changed_files": [], "lanes": []}
        return {
            **(report.as_dict() if report else selection),
            "schema_version": PLAN_SET_SCHEMA_VERSION,
            "nightly_schedule_utc": report.nightly_schedule_utc if report else None,
            "plans": [asdict(plan) for plan in self.plans],
        }


async def plan_targets(taken: Taken, targets: Iterable[str]) -> tuple[PlannedTarget, ...]:
    """Plan targets at a snapshot, in one evaluation.

    Raises:
        PikaciError: no plan can be had.
    """
    found = await planned_targets(taken, targets)
    errors = [plan for plan in found.values() if isinstance(plan, InfrastructureError)]
    if errors and len(errors) == len(found):
        raise errors[0]
    return tuple(
        PlannedTarget.without_plan(name, plan)
        if isinstance(plan, PikaciError)
        else PlannedTarget.of(plan)
        for name, plan in found.items()
    )


async def planned_targets(
    taken: Taken, targets: Iterable[str] | None
) -> dict[str, Planned | PikaciError]:
    """The plans of targets, or of all, at a snapshot; of one that has none, why.

    They come from one evaluation.
    """
    names = None if targets is None else list(dict.fromkeys(targets))
    plans = {} if names == [] else await taken.evaluator.plans(names)
    return {name: await _planned(taken, name, plan) for name, plan in plans.items()}


async def _planned(
    taken: Taken, target: str, found: Evaluated | PikaciError
) -> Planned | PikaciError:
    try:
        if isinstance(found, PikaciError):
            # What is not in the snapshot may be what the evaluation misses.
            taken.snapshot.lacks.check(lambda name: name.rstrip("/") not in found.message)
            return found
        plan = read_plan(found.values, f"the plan of target {target}", taken.state.answers)
        source = await jobs_source(plan, taken)
    except UsageError as error:
        return error
    return Planned(plan, source, taken.tree, taken.state, found.nix_version)


async def load_planned(path: Path, target: str | None, state: StateLayout) -> Planned:
    """The plan of a target in the set at `path`; all that it needs is still there.

    Raises:
        UsageError: it is no plan set, or has no plan of that target.
        InfrastructureError: what the plan needs is gone.
    """
    chosen = _choose(_read(path), target, path)
    origin = f"{path}: the plan of {chosen.get('target_id')}"
    plan = read_plan(chosen.get("plan"), origin, state.answers)
    try:
        source = PlanSource.model_validate(chosen.get("source"))
    except ValidationError as error:
        raise UsageError(f"{path} is not a plan set: source: {error}", _HINT) from None
    repository = await open_repository(state.root)
    for tree in (source.tree, source.snapshot_id):
        if repository.commit_of(tree) is None:
            raise InfrastructureError(
                f"the snapshot {tree} of {path} is not in {state.root}",
                "plan again, or give the --state-root it was planned with",
            )
    _check_derivations(plan, path)
    root = SourceTree(Path(source.root or "."), source.flake_dir or "")
    return Planned(plan, source.source(), root, state, source.nix_version or "unknown")


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON", _HINT) from None
    plans = values.get("plans") if isinstance(values, dict) else None
    if not isinstance(plans, list) or not all(isinstance(plan, dict) for plan in plans):
        raise UsageError(f"{path} is not a plan set", _HINT)
    if (version := values.get("schema_version")) != PLAN_SET_SCHEMA_VERSION:
        raise UsageError(f"{path} is of schema version {version!r}", "plan with this pikaci")
    return plans


def _choose(plans: list[dict[str, Any]], target: str | None, path: Path) -> dict[str, Any]:
    names = ", ".join(str(plan.get("target_id")) for plan in plans)
    found = [plan for plan in plans if target in {None, plan.get("target_id")}]
    if not found:
        what = f"plan of target {target}" if target else "plan"
        raise UsageError(f"{path} has no {what}", f"it has {names}" if names else None)
    if len(found) > 1:
        raise UsageError(f"{path} has several plans", f"name one of {names}")
    if error := found[0].get("error"):
        problem = PlanError.model_validate(error)
        name = found[0].get("target_id")
        raise UsageError(f"target {name} has no plan: {problem.message}", problem.hint)
    return found[0]


def _check_derivations(plan: Plan, path: Path) -> None:
    for node in plan.prepares:
        build = node.prepare
        if isinstance(build, NixBuild) and not any(
            map(os.path.lexists, (build.out_path, build.drv_path or ""))
        ):
            raise InfrastructureError(
                f"{build.drv_path} of {path} is not in the Nix store", "plan again"
            )
