"""How the runs of a batch stand, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jerichoci.errors import RecordError
from jerichoci.record.batch import BATCH_SCHEMA_VERSION, targets_of
from jerichoci.status import FailureKind, Status
from pikaci.screen import one_line, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.record.store import RunStore
    from jerichoci.record.summary import RunSummary

GONE = "it was removed, or never began"
_ORDER = (Status.RUNNING, Status.FAILED, Status.CANCELLED, Status.PASSED, Status.SKIPPED)
"""A batch stands as the first of these that one of its runs has."""


def batch_values(
    batch: str | None, records: Sequence[dict[str, Any]], problems: Sequence[str] = ()
) -> dict[str, Any]:
    """What `run --output json` and `status --json` print of a batch; null if nothing was run."""
    values = {"schema_version": BATCH_SCHEMA_VERSION, "batch": batch, "runs": records}
    return {**values, "problems": problems}


def recorded_values(store: RunStore, batch: str, runs: Sequence[str]) -> dict[str, Any]:
    """The records of a batch; `problems` says which can't be read, and why."""
    records, problems = [], []
    for run_id in runs:
        try:
            records.append(store.record_values(run_id))
        except RecordError as error:
            problems.append(f"run {run_id} is left out: {error.message}")
    return batch_values(batch, records, problems)


def batch_text(store: RunStore, batch: str, runs: Sequence[str]) -> str:
    """A batch for people: how it stands, and a line for each run."""
    from pikaci.render.words import between, elapsed_ms, estimate

    found = [store.summary(run_id) for run_id in runs]
    starts, ends = ([getattr(run, name) for run in found] for name in ("created_at", "finished_at"))
    started = min(filter(None, starts), default=None)
    took = between(started, max(ends)) if all(ends) else ""
    lines = [f"batch    {batch}", f"status   {_standing(found)}"]
    times = [f"started  {started}", *([f"took {took}"] if took else [])]
    expected = [run.estimated_ms for run in found if run.status != Status.SKIPPED]
    if expected and None not in expected:
        took_ms = elapsed_ms(started, max(ends)) if all(ends) else None
        times += [estimate(max(filter(None, expected)), took_ms)]
    lines += [", ".join(times)] if started else []
    rows = [
        (
            run.target_id or "?",
            "unreadable" if run.unreadable else f"{run.status or '?'}{', partial' * run.partial}",
            run.failure_kind or "",
            between(run.created_at, run.finished_at),
            run.run_id,
            run.unreadable or run.message or "",
        )
        for run in found
    ]
    gone = [(name, *[""] * 3, run_id, GONE) for run_id, name in _gone(store, batch, runs).items()]
    head = ("TARGET", "STATUS", "KIND", "TOOK", "RUN", "MESSAGE")
    return "\n".join([*map(one_line, lines), "", table(head, [*rows, *gone])])


def _gone(store: RunStore, batch: str, runs: Sequence[str]) -> dict[str, str]:
    """The targets of the batch's runs that are not there, by the ids of the runs."""
    named = targets_of(store.layout, batch).items()
    return {run_id: one_line(name) for run_id, name in named if run_id not in runs}


def _standing(runs: Sequence[RunSummary]) -> str:
    """`failed (test_failure): 2 failed, 9 passed`."""
    counts = {status: sum(run.status == status for run in runs) for status in _ORDER}
    counted = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    status = next((status for status, count in counts.items() if count), "unreadable")
    kinds = {run.failure_kind for run in runs}
    kind = next((f" ({kind})" for kind in FailureKind if kind in kinds), "")
    return f"{status}{kind if status == Status.FAILED else ''}: {counted}"
