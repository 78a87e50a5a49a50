"""The plan set of a run, as `pikaci plan` prints it, turned into lanes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pika_git.persistence.queue import LaneClass, NewLane

if TYPE_CHECKING:
    from pathlib import Path

LABEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""A precondition that is one word asks for a worker with this label; sentences are for people."""
CLASSES = {"manual": LaneClass.MANUAL, "merge": LaneClass.MANUAL, "nightly": LaneClass.NIGHTLY}
LOCAL = "local"
SET_BYTES = 64 * 1024**2
"""A plan set that is larger is not read: it is made of what was pushed."""


class InvalidSetError(Exception):
    """`pikaci plan` printed something else, or more than the service reads."""

    hint = "is pikaci of the same version as the forge?"


class LargeSetError(InvalidSetError):
    """A plan set is too large to be read into the service."""

    hint = "have fewer targets or lanes in one catalog, and push again"


@dataclass(frozen=True)
class PlanSet:
    """What a run is to run; `broken` are the causes of targets without a plan."""

    lanes: tuple[NewLane, ...]
    selection: dict[str, Any]
    broken: dict[str, dict[str, Any]]
    message: str | None

    @property
    def mistake(self) -> tuple[str, str | None] | None:
        """What keeps all lanes from having a plan, and a hint, if it is one thing."""
        causes = {(str(cause["message"]), cause["hint"]) for cause in self.broken.values()}
        has_plan = any(lane.plan_path is not None for lane in self.lanes)
        return causes.pop() if len(causes) == 1 and not has_plan else None


def read_plan_set(path: Path, kind: str) -> PlanSet:
    """Read the plan set of a run of this kind."""
    try:
        values = json.loads(_content(path))
        plans = {plan["target_id"]: plan for plan in values["plans"]}
        rows = values["lanes"] or [_as_lane(target) for target in plans]
        chosen = [row for row in rows if row["selected"]]
        lanes = tuple(_lane(row, plans[row["target"]], path, kind) for row in chosen)
        changed = len(values["changed_files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidSetError(f"{path} is not a plan set: {error!r}") from error
    broken = {
        target: {"code": "plan_failed", **plan["error"]}
        for target, plan in plans.items()
        if plan["error"]
    }
    selection = {"changed_files": changed, "lanes": rows}
    return PlanSet(lanes, selection, broken, None if lanes else _why_none(rows, changed))


def is_set(path: Path) -> bool:
    """Whether the file is a whole plan set."""
    try:
        return "plans" in json.loads(_content(path))
    except LargeSetError:
        return True
    except (OSError, ValueError, TypeError):
        return False


def _content(path: Path) -> bytes:
    if path.stat().st_size > SET_BYTES:
        raise LargeSetError(f"the plans of its targets take more than {SET_BYTES // 1024**2} MiB")
    return path.read_bytes()


def _lane(row: dict[str, Any], planned: dict[str, Any], path: Path, kind: str) -> NewLane:
    plan = planned["plan"]
    return NewLane(
        name=row["id"],
        title=row["title"],
        target=row["target"],
        klass=CLASSES.get(kind, LaneClass.BRANCH),
        group_name=row["concurrency_group"],
        labels=_labels(plan) if plan else (),
        why=row["reason"],
        plan_path=str(path) if plan else None,
        plan_digest=planned["plan_digest"],
    )


def _labels(plan: dict[str, Any]) -> tuple[str, ...]:
    """What a worker must have: the system of local nodes, and what the plan asks for."""
    local = any(node["placement"] == LOCAL for node in plan["nodes"])
    asked = (text for text in plan["preconditions"] if LABEL.fullmatch(text))
    return (*([plan["system"]] if local else []), *asked)


def _as_lane(target: str) -> dict[str, Any]:
    return {
        "id": target,
        "title": target,
        "target": target,
        "trigger": "manual",
        "concurrency_group": None,
        "selected": True,
        "reason": "asked for by name",
    }


def _why_none(rows: list[dict[str, Any]], changed: int) -> str:
    branch = [row for row in rows if row.get("trigger") == "branch"]
    if not branch:
        return "No lanes were selected: the lanes file has none of this kind."
    files = "1 changed file" if changed == 1 else f"{changed} changed files"
    lanes = "the one lane" if len(branch) == 1 else f"any of the {len(branch)} lanes"
    return f"No lanes were selected: none of {files} matches the path filter of {lanes}."
