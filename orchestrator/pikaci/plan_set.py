"""A plan set: the plans of several targets at one snapshot, from one evaluation, as a file.

`pikaci run --plan FILE` runs one of them later, without evaluating. It has what a run has to know
of its source beside the plan. Of the lanes of a change it says which were selected, and why.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.errors import CatalogError, InfrastructureError, UsageError
from jerichoci.snapshot.repository import open_repository
from pikaci.location import SourceTree
from pikaci.sourcing import Planned, Taken, jobs_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.plan.plan import Plan
    from jerichoci.state.layout import StateLayout
    from pikaci.selection import SelectionReport

PLAN_SET_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class PlannedTarget:
    """A target of a set: its plan as JSON values, or why it has none."""

    target_id: str
    plan: dict[str, Any] | None = None
    plan_digest: str | None = None
    source: dict[str, Any] | None = None
    error: dict[str, str | None] | None = None


async def plan_targets(taken: Taken, targets: Sequence[str]) -> list[PlannedTarget]:
    """Plan targets at a snapshot, in one evaluation."""
    from jerichoci.plan.plan import parse_plan, plan_digest

    found = []
    for target, evaluated in (await taken.evaluator.plans(targets)).items():
        if isinstance(evaluated, CatalogError):
            error = {"message": evaluated.message, "hint": evaluated.hint}
            found.append(PlannedTarget(target, error=error))
            continue
        plan = parse_plan(evaluated.values, f"the plan of target {target}")
        source = await jobs_source(plan, taken)
        found.append(
            PlannedTarget(
                target,
                plan=plan.dump(),
                plan_digest=plan_digest(plan),
                source={**asdict(source), "nix_version": evaluated.nix_version},
            )
        )
    return found


def as_json(plans: Sequence[PlannedTarget], report: SelectionReport | None) -> dict[str, Any]:
    """A set in its JSON form."""
    selection: dict[str, Any] = {"base": None, "head": None, "changed_files": [], "lanes": []}
    return {
        **(report.as_dict() if report else selection),
        "schema_version": PLAN_SET_SCHEMA_VERSION,
        "nightly_schedule_utc": report.nightly_schedule_utc if report else None,
        "plans": [asdict(plan) for plan in plans],
    }


async def load_planned(path: Path, target: str | None, state: StateLayout) -> Planned:
    """The plan of a target in the set at `path`, whose snapshot is still there.

    Raises:
        UsageError: it is no plan set, or has no plan of that target.
        InfrastructureError: what the plan needs is gone.
    """
    from jerichoci.plan.plan import parse_plan
    from jerichoci.run.request import Source

    chosen = _choose(_read(path), target, path)
    values = dict(chosen["source"])
    version = values.pop("nix_version", None)
    known = {field.name for field in fields(Source)}
    source = Source(**{name: value for name, value in values.items() if name in known})
    plan = parse_plan(chosen["plan"], str(path))
    repository = await open_repository(state.root)
    for tree in (source.tree, source.snapshot_id):
        if repository.commit_of(tree) is None:
            raise InfrastructureError(
                f"the snapshot {tree} of {path} is gone from {state.root}", "plan again"
            )
    _check_derivations(plan, path)
    root = SourceTree(Path(source.root or "."), source.flake_dir or "")
    return Planned(plan, source, root, state, version or "unknown")


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        values = json.loads(path.read_bytes())
        plans = values["plans"]
        version = values["schema_version"]
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        hint = "`pikaci plan TARGET... --set` prints one"
        raise UsageError(f"{path} is not a plan set", hint) from None
    if version != PLAN_SET_SCHEMA_VERSION:
        raise UsageError(f"{path} is of schema version {version}", "plan with this pikaci")
    return [plan for plan in plans if isinstance(plan, dict)]


def _choose(plans: list[dict[str, Any]], target: str | None, path: Path) -> dict[str, Any]:
    names = [str(plan.get("target_id")) for plan in plans]
    found = [plan for plan in plans if target in {None, plan.get("target_id")}]
    if not found:
        raise UsageError(f"{path} has no plan of target {target}", f"it has {', '.join(names)}")
    if len(found) > 1:
        raise UsageError(f"{path} has several plans", f"name one of {', '.join(names)}")
    if error := found[0].get("error"):
        raise UsageError(f"target {names[0]} has no plan: {error['message']}", error.get("hint"))
    return found[0]


def _check_derivations(plan: Plan, path: Path) -> None:
    from jerichoci.plan.plan import NixBuild

    for node in plan.prepares:
        build = node.prepare
        if isinstance(build, NixBuild) and not any(
            map(os.path.lexists, (build.out_path, build.drv_path or ""))
        ):
            raise InfrastructureError(
                f"{build.drv_path} of {path} is not in the Nix store", "plan again"
            )
