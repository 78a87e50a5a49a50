"""How long the nodes of plans take, by the runs before; and from that, a run.

A prepare's time counts only where it was made: what is there already takes none. The estimate of
one is the time of the same node, else of what the target's prepare of that id was before.
"""

from __future__ import annotations

import os
from collections import defaultdict
from datetime import datetime
from statistics import median_high
from typing import TYPE_CHECKING, Any

from jerichoci.plan.plan import NixBuild
from jerichoci.state.reading import read_object, rows
from jerichoci.status import Outcome, Status
from pikaci.estimate_schedule import Step

if TYPE_CHECKING:
    from jerichoci.plan.plan import ExecuteNode, Plan, PrepareNode
    from jerichoci.record.store import RunStore

NEWEST_RUNS = 60
"""So many are read: each takes less than a millisecond."""
NEWEST_TIMES = 5
"""Of one node; the estimate is their median."""
MOST_BYTES = 4 * 1024 * 1024
"""A larger record is passed over: reading it would take longer than its times are worth."""

Key = tuple[str, ...]


class Estimates:
    """Times of plan nodes in the newest runs of a state root, in milliseconds."""

    def __init__(self, store: RunStore) -> None:
        self._times: defaultdict[Key, list[int]] = defaultdict(list)
        self._elsewhere: set[Key] = set()
        """The jobs that were on another machine when they passed last."""
        for run_id in store.run_ids(NEWEST_RUNS):
            path = store.layout.run(run_id).record
            try:
                if path.stat().st_size <= MOST_BYTES:
                    self._learn(read_object(path))
            except (OSError, ValueError):
                continue

    def job(self, target_id: str, job_id: str) -> int | None:
        """What a target's job took; None if it has not passed yet."""
        return self._typical(("job", target_id, job_id))

    def prepare(self, target_id: str, node: PrepareNode) -> int | None:
        """What it took to make a prepare, or the one that it was before; None if unknown."""
        named = ("prepare", target_id, node.prepare_id or "")
        return self._typical(_node(target_id, node.id, _is_command(node))) or self._typical(named)

    def steps(self, plan: Plan, run: str = "") -> list[Step]:
        """The nodes of a plan and their estimates, `run` before the keys of what it has alone."""
        keys = {node.id: (run, node.job_id) for node in plan.jobs}
        keys |= {node.id: (run * _is_command(node), node.id) for node in plan.prepares}
        made = [
            Step(
                keys[node.id],
                frozenset(keys[needed] for needed in node.depends_on),
                0 if _is_there(node) else self.prepare(plan.target_id, node),
            )
            for node in plan.prepares
        ]
        return made + [
            Step(
                keys[node.id],
                frozenset(keys[needed] for needed in node.depends_on),
                self.job(plan.target_id, node.job_id),
                self._cpus(plan.target_id, node),
            )
            for node in plan.jobs
        ]

    def _cpus(self, target_id: str, node: ExecuteNode) -> int:
        """What a job takes of this machine, unless it was elsewhere last."""
        is_elsewhere = (target_id, node.job_id) in self._elsewhere
        return 0 if is_elsewhere else node.execute.resources.cpus or 1

    def _learn(self, run: dict[str, Any]) -> None:
        target = run.get("target_id")
        if not isinstance(target, str):
            return
        for row in rows(run, "jobs"):
            if row.get("status") == Status.PASSED:
                key = ("job", target, str(row.get("id")))
                if key not in self._times and row.get("host") not in {None, os.uname().nodename}:
                    self._elsewhere.add(key[1:])
                self._note(key, _took(row))
        for row in rows(run, "prepare_timings"):
            if row.get("outcome") == Outcome.PASSED and row.get("cached") is False:
                node_id, named = str(row.get("node_id")), row.get("prepare_id")
                took = row.get("duration_ms")
                self._note(_node(target, node_id, node_id == named), took)
                if named:
                    self._note(("prepare", target, str(named)), took)

    def _note(self, key: Key, took: object) -> None:
        if isinstance(took, int) and took >= 0 and len(self._times[key]) < NEWEST_TIMES:
            self._times[key].append(took)

    def _typical(self, key: Key) -> int | None:
        return median_high(self._times[key]) if key in self._times else None


def _node(target_id: str, node_id: str, is_command: bool) -> Key:  # noqa: FBT001 - of two kinds
    """The same derivation is one node in all targets; a command's id is its target's alone."""
    return ("node", target_id if is_command else "", node_id)


def _is_command(node: PrepareNode) -> bool:
    return not isinstance(node.prepare, NixBuild)


def _is_there(node: PrepareNode) -> bool:
    return isinstance(node.prepare, NixBuild) and os.path.lexists(node.prepare.out_path)


def _took(row: dict[str, Any]) -> int | None:
    try:
        began, ended = (datetime.fromisoformat(row[key]) for key in ("started_at", "finished_at"))
        return round((ended - began).total_seconds() * 1000)
    except (KeyError, TypeError, ValueError):
        return None
