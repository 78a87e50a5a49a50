"""Texts that the renderers share: durations, ends of jobs and runs, the output of a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.status import CauseCode, FailureKind, Outcome, Status
from pikaci.location import state_option
from pikaci.render.tail import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jerichoci.record.event import PrepareFinished
    from jerichoci.record.record import JobRecord, RunRecord
    from jerichoci.state.layout import StateLayout

SECOND_MS = 1000
MINUTE_SECS = 60


def duration(milliseconds: int) -> str:
    """A duration as people read it: `340 ms`, `4.2 s`, `3 min 07 s`; 0 if the clock went back."""
    milliseconds = max(0, milliseconds)
    if milliseconds < SECOND_MS:
        return f"{milliseconds} ms"
    seconds = milliseconds / SECOND_MS
    if seconds < MINUTE_SECS:
        return f"{seconds:.1f} s"
    return f"{int(seconds // MINUTE_SECS)} min {int(seconds % MINUTE_SECS):02d} s"


def between(started: str | None, finished: str | None) -> str:
    """The time between two timestamps of a record; empty if one is missing."""
    from datetime import datetime

    if not started or not finished:
        return ""
    try:
        took = datetime.fromisoformat(finished) - datetime.fromisoformat(started)
    except (ValueError, TypeError):  # the latter where only one has a zone
        return ""
    return duration(round(took.total_seconds() * SECOND_MS))


def job_end(job: JobRecord) -> str:
    """`passed`, `failed: exited with 1`, or `failed (infrastructure): why`."""
    is_own = job.failure_kind in {None, FailureKind.TEST_FAILURE}
    kind = "" if is_own else f" ({job.failure_kind})"
    why = (job.message or "").removeprefix(f"job {job.id} ")
    return f"{job.status}{kind}{why and f': {why}'}"


STOPPING = "stopping: jobs have 10 s to exit; press Ctrl-C again to kill them now"


def prepare_tail(directory: Path, event: PrepareFinished) -> Iterator[str]:
    """What a failed prepare printed, by the logs of a job that needs it."""
    if event.outcome is Outcome.FAILED:
        yield from excerpt(directory, directory.parent.parent.name, event.node_id)


def failure_tail(state: StateLayout, run_id: str, job: JobRecord) -> Iterator[str]:
    """What a failed job printed; long output without its middle."""
    if job.status is Status.FAILED:
        run = state.run(run_id)
        log = run.root / job.host_log_path if job.host_log_path else None
        yield from excerpt(log.parent if log else run.attempt(job.id, 1), job.id, job.id)


def run_end(state: StateLayout, run: RunRecord) -> Iterator[str]:
    """The lines that close a run: how it went, why, where the record is, what to type next."""
    kind = f" ({run.failure_kind})" if run.failure_kind else ""
    why = f": {run.message}" if run.message else ""
    took = between(run.created_at, run.finished_at)
    yield f"{run.status}{kind}{', partial,' if run.partial else ''} in {took}{why}"
    if run.cause and run.cause.hint:
        yield run.cause.hint
    if run.cause and run.cause.code == CauseCode.RECORD_REMOVED:
        return
    passed_over = [(row.host, row.reason) for job in run.jobs for row in job.passed_over]
    for host, reason in dict.fromkeys(passed_over):
        yield f"host {host} was skipped: {reason}"
    yield f"record {state.run(run.run_id).root}"
    if run.partial:
        left = [job.id for job in run.jobs if is_left_out(job)]
        yield f"partial: {len(run.jobs) - len(left)} of {len(run.jobs)} jobs were selected"
    if run.status is Status.FAILED:
        option = state_option(state)
        yield from _failed_jobs(state, run, option)
        yield run_failed_again(run, option)


def run_failed_again(run: RunRecord, option: str) -> str:
    """How to run what failed again; of a commit that is not checked out, only as it was."""
    rerun = f"pikaci rerun {run.run_id} --failed{option}"
    if run.source_rev:
        return f"run the failed jobs again: {rerun}"
    now = f"pikaci run {run.target_id} --failed{option}"
    return f"run the failed jobs again: {now}; on the same snapshot: {rerun}"


def _failed_jobs(state: StateLayout, run: RunRecord, option: str) -> Iterator[str]:
    bad = [job for job in run.jobs if job.status is Status.FAILED]
    if not bad:
        yield f"full log: pikaci logs {run.run_id}{option}"
    for job in bad:
        what = f"job {job.id} {job_end(job)}; log" if len(bad) > 1 else "full log"
        yield f"{what}: pikaci logs {run.run_id} --job {job.id}{option}"
        if (state.run(run.run_id).scratch / f"{job.id}-{job.attempt}").is_dir():
            yield f"open a shell where it ran: pikaci shell {run.run_id} {job.id}{option}"


def is_left_out(job: JobRecord) -> bool:
    """Whether a job of the target was not selected, or the target was filtered out."""
    return job.cause is not None and job.cause.code in {
        CauseCode.NOT_SELECTED,
        CauseCode.FILTERED,
    }


def run_start(run: RunRecord) -> str:
    """The first line of a run: its id, and which run it repeats."""
    again = f" (rerun of {run.rerun_of})" if run.rerun_of else ""
    return f"run {run.run_id}{again}"
