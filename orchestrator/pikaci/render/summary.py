"""The end of a batch: how it went, what did not pass and why, and how to look further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.status import Status
from pikaci.location import state_option
from pikaci.render import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jerichoci.record.record import RunRecord
    from jerichoci.state.layout import StateLayout

FIRST = [Status.FAILED, Status.CANCELLED, Status.RUNNING, Status.PASSED, Status.SKIPPED]
"""The first of these that a run has is the verdict: what was skipped is no success."""
SHOWN = 12
"""Lines of a target that name logs; `pikaci status` has all."""

Said = tuple[Status | None, str]
"""A line, and the status it tells of."""


def batch_end(state: StateLayout, runs: Sequence[RunRecord]) -> Iterator[Said]:
    """The lines that close a batch; the first is the verdict."""
    verdict = min((run.status for run in runs), key=FIRST.index)
    yield verdict, f"{_counted(runs, verdict)} in {_took(runs)}"
    option, batch = state_option(state), runs[0].batch
    for run in runs:
        if run.status not in {Status.PASSED, Status.CANCELLED}:
            yield run.status, f"{run.target_id} {words.run_status(run)}"
            hints = [run.cause.hint] if run.cause and run.cause.hint else []
            looks = list(words.failed_jobs(state, run, option))
            yield from ((None, f"  {line}") for line in [*hints, *looks[:SHOWN]])
            if len(looks) > SHOWN:
                yield None, f"  ... {len(looks) - SHOWN} more: pikaci status {run.run_id}{option}"
    cancelled = [run.target_id for run in runs if run.status is Status.CANCELLED]
    if len(cancelled) < len(runs) and cancelled:
        yield Status.CANCELLED, f"cancelled: {', '.join(cancelled)}"
    yield from ((None, line) for line in words.skipped_hosts(runs))
    if bad := [run for run in runs if run.status is Status.FAILED]:
        again = words.run_failed_again(bad, batch or bad[0].run_id, option)
        yield from ((None, line) for line in again)
    yield None, f"all targets: pikaci status {batch}{option}"


def _counted(runs: Sequence[RunRecord], verdict: Status) -> str:
    """`failed: 2 of 12 targets`, `passed: 12 targets, 31 jobs`."""
    count = sum(run.status is verdict for run in runs)
    if count < len(runs):
        return f"{verdict}: {count} of {len(runs)} targets"
    jobs = sum(not words.is_left_out(job) for run in runs for job in run.jobs)
    return f"{verdict}: {len(runs)} target{'s' * (len(runs) != 1)}, {jobs} job{'s' * (jobs != 1)}"


def _took(runs: Sequence[RunRecord]) -> str:
    began = min(run.created_at for run in runs)
    return words.between(began, max(run.finished_at or began for run in runs))
