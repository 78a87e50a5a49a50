"""Whether a branch may be merged, decided from what its lanes did.

Required are the lanes that the change selects by the target's lanes file, and by the branch's own:
a branch can't drop the lane that it fails, nor have it run another target. Each must be green on
the tree of the merge result:

- it ran on that very tree, as it has when the target has not moved meanwhile; or
- it was green on the branch's head, and what the target brought since does not select it.

Those that neither holds for have to run on the merge result. A lane that is red or not over on the
branch's head keeps it from being merged, whatever the target brought.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pika_git.persistence.merges import Verdict

_ACTIVE = {"queued": "is queued", "running": "runs", "cancelling": "is being cancelled"}
_RED = {"failed": "failed", "skipped": "was skipped", "cancelled": "was cancelled"}


@dataclass(frozen=True)
class Evidence:
    """What the gate knows; lanes by name."""

    required: Mapping[str, str]  # and which file requires it, in words
    targets: Mapping[str, str]  # what those run that the target's file requires, by that file
    runnable: Mapping[str, str]  # the branch lanes of the merge result's own file: their targets
    on_result: Mapping[str, Verdict]
    on_head: Mapping[str, Verdict]
    touched: frozenset[str]  # what the target brought since selects these


@dataclass(frozen=True)
class Judgement:
    """Why it may not be merged, in sentences, and which lanes have to run on the merge result."""

    refusals: tuple[str, ...]
    to_run: tuple[str, ...]


def judge(evidence: Evidence) -> Judgement:
    """Look at each required lane."""
    refusals, to_run = [], []
    for name, by in evidence.required.items():
        if name not in evidence.runnable:
            refusals.append(f"{by} requires lane {name}, and the merge result has no such lane")
            continue
        target = evidence.runnable[name]
        if (its := evidence.targets.get(name, target)) != target:
            refusals.append(
                f"the branch gives lane {name} another target: {target}, not {its};"
                " --force merges it"
            )
            continue
        result, head = _of(evidence.on_result, name, target), _of(evidence.on_head, name, target)
        if result is not None and result.state == "success":
            continue
        if active := next((v for v in (head, result) if v and v.state in _ACTIVE), None):
            refusals.append(f"lane {name} {_ACTIVE[active.state]} (run {active.run_id})")
        elif head is not None and head.state in _RED:
            refusals.append(_red(name, head))
        elif result is not None and result.state == "failed":
            refusals.append(f"{_red(name, result)}, on the merge result")
        elif head is None or name in evidence.touched:
            to_run.append(name)
    return Judgement(tuple(refusals), tuple(to_run))


def _of(verdicts: Mapping[str, Verdict], name: str, target: str) -> Verdict | None:
    """The verdict of a lane; a target of that name that was run by hand is another thing."""
    found = verdicts.get(name)
    return found if found is not None and found.target == target else None


def _red(name: str, verdict: Verdict) -> str:
    kind = f" ({verdict.failure_kind})" if verdict.failure_kind else ""
    return f"lane {name} {_RED[verdict.state]}{kind} in run {verdict.run_id}"
