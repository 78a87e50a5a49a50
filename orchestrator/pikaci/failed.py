"""What failed last, for `pikaci run --failed`.

Of each job of a target, the newest run that it was part of and that is over counts. So a job that
failed stays failed while runs of other jobs alone (`--job`, `--failed`) pass. A job that was
skipped or cancelled did not pass either, whatever the reason was: it is one of those to run.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import click

from jerichoci.errors import UsageError
from jerichoci.status import CauseCode, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jerichoci.record.store import RunStore
    from jerichoci.record.summary import JobSummary, RunSummary
    from pikaci.work import Work

MOST_RUNS = 1000
"""How far back is looked for a target: further back, its jobs are others."""


def failed_jobs(store: RunStore, target: str) -> list[str]:
    """The jobs of a target that did not pass when they ran last.

    Raises:
        UsageError: no run of the target is over.
    """
    last: dict[str, JobSummary] = {}
    is_known = False
    for run in _over(store):
        if run.target_id != target:
            continue
        is_known = True
        for job in run.jobs:
            if not _is_left_out(job):
                last.setdefault(job.id, job)
        if not run.partial and run.status != Status.SKIPPED:
            break
    if not is_known:
        raise UsageError(f"no run of target {target} is over", f"start one: `pikaci run {target}`")
    return [job.id for job in last.values() if job.status != Status.PASSED]


def has_ended(store: RunStore, target: str) -> bool:
    """Whether a run of a target is over."""
    return any(run.target_id == target for run in _over(store))


def last_targets(store: RunStore) -> list[str]:
    """The targets of the last run or batch that is over."""
    groups = groupby(_over(store), lambda run: run.batch or run.run_id)
    runs = next((list(group) for _, group in groups), [])
    if not runs:
        raise UsageError("no run is over yet", "start one with `pikaci run TARGET`")
    return [run.target_id for run in reversed(runs) if run.target_id]


def with_failed_jobs(store: RunStore, works: Sequence[Work]) -> list[Work]:
    """The work of targets of which jobs failed last: those jobs.

    Raises:
        UsageError: there is none of those jobs any more.
    """
    found = []
    gone = []
    for work in works:
        plan = work.planned.plan
        target = plan.target_id
        known = {node.job_id for node in plan.jobs}
        failed = failed_jobs(store, target)
        gone += [f"{target} has no job {job} now" for job in failed if job not in known]
        if jobs := [job for job in failed if job in known]:
            found.append(replace(work, jobs=tuple(jobs)))
    if gone and not found:
        raise UsageError(
            f"what failed last is gone: {', '.join(gone)}", "run all, without --failed"
        )
    for what in gone:
        click.echo(f"pikaci: {what}; it failed last", err=True)
    return found


def _over(store: RunStore) -> Iterator[RunSummary]:
    """The runs that are over and can be read, the newest first."""
    for run_id in store.run_ids(MOST_RUNS):
        run = store.summary(run_id)
        if run.is_terminal:
            yield run


def _is_left_out(job: JobSummary) -> bool:
    return job.code in {CauseCode.NOT_SELECTED, CauseCode.FILTERED}
