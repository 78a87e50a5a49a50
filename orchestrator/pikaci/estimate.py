"""How long the nodes of plans take, by the runs before; and from that, a run.

A prepare's time counts only where it was made: what is there already takes none. The estimate of
one is the time of the same node, else of what the target's prepare of that id was before. A job
that has not passed yet is expected to take as long as when it failed.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jerichoci.machine.slots import local_capacity
from jerichoci.plan.plan import NixBuild
from jerichoci.state.reading import read_file, rows
from jerichoci.status import FailureKind, Outcome, Status
from pikaci.estimate_schedule import Step, finish_times, merged

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from jerichoci.plan.plan import ExecuteNode, Plan, PrepareNode
    from jerichoci.record.store import RunStore
    from jerichoci.run.request import RunRequest

NEWEST_RUNS = 60
"""So many are read at most."""
NEWEST_TIMES = 5
"""Of one node; the estimate is their median."""
MOST_BYTES = 4 * 1024 * 1024
"""Of records in all: more would take longer to read than the times are worth."""

Key = tuple[str, ...]

PASSED, FAILED, NODE, PREPARE = "passed job", "failed job", "node", "prepare"
KINDS: dict[str, str] = {Status.PASSED: PASSED, Status.FAILED: FAILED}
AROUND: Key = ("around",)
"""What a run takes before its first node and after its last."""


class Estimates:
    """Times of plan nodes in the newest runs of a state root, in milliseconds."""

    def __init__(self, store: RunStore, needed: Collection[Key] = ()) -> None:
        """Read until there are times enough of what is `needed`, if anything is."""
        self._times: defaultdict[Key, list[int]] = defaultdict(list)
        self._elsewhere: set[Key] = set()
        """The jobs that were on another machine last."""
        left, ids = MOST_BYTES, list[str]()
        with suppress(OSError):
            ids = store.run_ids(NEWEST_RUNS)
        for run_id in ids:
            data = _read(store.layout.run(run_id).record)
            if (left := left - len(data)) < 0:
                break
            with suppress(ValueError, RecursionError):
                if isinstance(run := json.loads(data), dict):
                    self._learn(run)
            if needed and all(len(self._times[key]) == NEWEST_TIMES for key in needed):
                break

    def job(self, target_id: str, job_id: str) -> int | None:
        """What a target's job takes; None if it has not run yet."""
        return self._typical((PASSED, target_id, job_id), (FAILED, target_id, job_id))

    def prepare(self, target_id: str, node: PrepareNode) -> int | None:
        """What it takes to make a prepare; None if it was never made."""
        named = (PREPARE, target_id, node.prepare_id or "")
        return self._typical(_node(target_id, node.id, _is_command(node)), named)

    @property
    def around(self) -> int:
        """What a run takes besides its nodes."""
        return self._typical(AROUND) or 0

    def steps(self, plan: Plan, run: str, only: AbstractSet[str] | None = None) -> list[Step]:
        """The nodes of a plan, or `only` some; `run` is in the keys of what others don't share."""
        keys = {node.id: (run, node.job_id) for node in plan.jobs}
        keys |= {node.id: (run if _is_command(node) else "", node.id) for node in plan.prepares}

        def step(node: PrepareNode | ExecuteNode, took: int | None, cpus: int = 0) -> Step:
            needs = frozenset(keys[needed] for needed in node.depends_on)
            return Step(keys[node.id], needs, took, cpus)

        target = plan.target_id
        return [
            *(
                step(node, 0 if _is_there(node) else self.prepare(target, node))
                for node in plan.prepares
                if only is None or node.id in only
            ),
            *(
                step(node, self.job(target, node.job_id), self._cpus(target, node))
                for node in plan.jobs
                if only is None or node.id in only
            ),
        ]

    def _cpus(self, target_id: str, node: ExecuteNode) -> int:
        """What a job takes of this machine."""
        is_elsewhere = (target_id, node.job_id) in self._elsewhere
        return 0 if is_elsewhere else node.execute.resources.cpus or 1

    def _learn(self, run: dict[str, Any]) -> None:
        target = str(run.get("target_id"))
        jobs, prepares = rows(run, "jobs"), rows(run, "prepare_timings")
        for row in jobs:
            kind = KINDS.get(str(row.get("status")))
            if kind and row.get("failure_kind") in {None, FailureKind.TEST_FAILURE}:
                name = (target, str(row.get("id")))
                if (kind, *name) not in self._times and _was_elsewhere(row):
                    self._elsewhere.add(name)
                self._note((kind, *name), _took(row))
        for row in prepares:
            if row.get("outcome") == Outcome.PASSED and row.get("cached") is False:
                node_id, prepare_id = str(row.get("node_id")), row.get("prepare_id")
                self._note(_node(target, node_id, node_id == prepare_id), row.get("duration_ms"))
                self._note((PREPARE, target, str(prepare_id)), row.get("duration_ms"))
        if run.get("status") == Status.PASSED:
            self._note(AROUND, _around(run, [*jobs, *prepares]))

    def _note(self, key: Key, took: object) -> None:
        if isinstance(took, int) and took >= 0 and len(self._times[key]) < NEWEST_TIMES:
            self._times[key].append(took)

    def _typical(self, *keys: Key) -> int | None:
        """The median of the times of the first of these that has any."""
        times = next((sorted(found) for key in keys if (found := self._times.get(key))), None)
        return times[len(times) // 2] if times else None


def with_estimates(store: RunStore, requests: Sequence[RunRequest]) -> list[RunRequest]:
    """Requests for runs beside each other, each with what it is expected to take."""
    planned = [request.plan for request in requests if not request.skip_reason]
    needed = {(PASSED, plan.target_id, job.job_id) for plan in planned for job in plan.jobs}
    missing = any(not _is_there(node) for plan in planned for node in plan.prepares)
    estimates = Estimates(store, () if missing else {AROUND, *needed})
    steps = {
        request.plan.target_id: estimates.steps(
            request.plan, request.plan.target_id, request.selected()
        )
        for request in requests
        if not request.skip_reason
    }
    together = merged(step for own in steps.values() for step in own)
    ends = finish_times(list(together.values()), local_capacity().cpus, requests[0].max_jobs)

    def total(request: RunRequest) -> int | None:
        own = [ends[step.key] for step in steps.get(request.plan.target_id, [])]
        known = [end for end in own if end is not None]
        return max(known) + estimates.around if known and len(known) == len(own) else None

    return [replace(request, estimated_ms=total(request)) for request in requests]


def _read(path: Path) -> bytes:
    """A record, empty if it can't be read."""
    try:
        return read_file(path)
    except OSError:
        return b""


def _node(target_id: str, node_id: str, is_command: bool) -> Key:  # noqa: FBT001 - of two kinds
    """The same derivation is one node in all targets; a command's id is its target's alone."""
    return (NODE, target_id if is_command else "", node_id)


def _is_command(node: PrepareNode) -> bool:
    return not isinstance(node.prepare, NixBuild)


def _is_there(node: PrepareNode) -> bool:
    return isinstance(node.prepare, NixBuild) and os.path.lexists(node.prepare.out_path)


def _was_elsewhere(job: dict[str, Any]) -> bool:
    return job.get("host") not in {None, os.uname().nodename}


def _took(row: dict[str, Any]) -> int | None:
    began, ended = _at(row, "started_at"), _at(row, "finished_at")
    return ended - began if began is not None and ended is not None else None


def _around(run: dict[str, Any], nodes: Sequence[dict[str, Any]]) -> int | None:
    began, ended = _at(run, "created_at"), _at(run, "finished_at")
    firsts = [at for row in nodes if (at := _at(row, "started_at")) is not None]
    lasts = [at for row in nodes if (at := _at(row, "finished_at")) is not None]
    if began is None or ended is None or not firsts or not lasts:
        return None
    return ended - began - (max(lasts) - min(firsts))


def _at(row: dict[str, Any], key: str) -> int | None:
    """A timestamp in milliseconds since 1970."""
    try:
        return round(datetime.fromisoformat(row[key]).timestamp() * 1000)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
