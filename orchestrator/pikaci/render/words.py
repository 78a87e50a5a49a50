"""Texts that the renderers share: durations, ends of jobs and runs, the output of a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.status import PREPARE_PHASE, CauseCode, FailureKind, Outcome, Status
from pikaci.location import state_option
from pikaci.render.tail import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from jerichoci.record.event import PrepareFinished
    from jerichoci.record.record import JobRecord, RunRecord
    from jerichoci.state.layout import StateLayout

NAMED = 8
"""Targets that a command is shown with."""
SECOND_MS = 1000
MINUTE_SECS = 60
HOUR_MINUTES = 60
ROUNDED_SECS, STEP_SECS = 10, 5
"""An estimate of so many seconds or more is a multiple of the step."""


def duration(milliseconds: int) -> str:
    """A duration as people read it: `340 ms`, `4.2 s`, `3 min 07 s`; 0 if the clock went back."""
    milliseconds = max(0, milliseconds)
    if milliseconds < SECOND_MS:
        return f"{milliseconds} ms"
    seconds = milliseconds / SECOND_MS
    if seconds < MINUTE_SECS:
        return f"{seconds:.1f} s"
    return f"{int(seconds // MINUTE_SECS)} min {int(seconds % MINUTE_SECS):02d} s"


def seconds(elapsed: float) -> str:
    """A time that grows: as `duration`, but never milliseconds."""
    if elapsed < MINUTE_SECS:
        return f"{elapsed:.1f} s"
    return duration(round(elapsed * SECOND_MS))


def about(milliseconds: int) -> str:
    """A time to come, as exact as an estimate is: `8 s`, `45 s`, `3 min`, `2 h 10 min`."""
    seconds = round(milliseconds / SECOND_MS)
    if seconds < ROUNDED_SECS:
        return f"{max(1, seconds)} s"
    if seconds < MINUTE_SECS:
        return f"{seconds // STEP_SECS * STEP_SECS} s"
    minutes = round(seconds / MINUTE_SECS)
    hours, rest = divmod(minutes, HOUR_MINUTES)
    return f"{hours} h {rest:02d} min" if hours else f"{minutes} min"


def elapsed_ms(started: str | None, finished: str | None) -> int | None:
    """The time between two timestamps of a record; None if one is missing."""
    from datetime import datetime

    if not started or not finished:
        return None
    try:
        took = datetime.fromisoformat(finished) - datetime.fromisoformat(started)
    except (ValueError, TypeError):  # the latter where only one has a zone
        return None
    return round(took.total_seconds() * SECOND_MS)


def between(started: str | None, finished: str | None) -> str:
    """The time between two timestamps of a record, for people; empty if one is missing."""
    took = elapsed_ms(started, finished)
    return "" if took is None else duration(took)


def estimate(expected_ms: int, took_ms: int | None) -> str:
    """What a run was expected to take, and by how much that was wrong."""
    text = f"estimated {duration(expected_ms)}"
    if took_ms is None or took_ms <= 0:
        return text
    off = round(100 * (expected_ms - took_ms) / took_ms)
    return f"{text} ({abs(off)} % too {'short' if off < 0 else 'long'})" if off else text


def job_end(job: JobRecord, *, briefly: bool = False) -> str:
    """`passed`, `failed: exited with 1`, or `failed (infrastructure): why`.

    `briefly` is for where a prepare that a job needs has said already why it failed.
    """
    is_own = job.failure_kind in {None, FailureKind.TEST_FAILURE}
    kind = "" if is_own else f" ({job.failure_kind})"
    why = (job.message or "").removeprefix(f"job {job.id} ")
    if briefly and job.cause and job.cause.phase == PREPARE_PHASE:
        why = why.partition(": ")[0]
    return f"{job.status}{kind}{why and f': {why}'}"


def job_took(job: JobRecord) -> str:
    """How long a job took; empty if it did not start."""
    return between(job.started_at, job.finished_at)


STOPPING = "stopping: jobs have 10 s to exit; press Ctrl-C again to kill them now"


def prepare_end(name: str, event: PrepareFinished) -> str:
    """Why a prepare failed, after a colon; else nothing."""
    return f": {event.cause.message.removeprefix(f'prepare {name} ')}" if event.cause else ""


def prepare_tail(directory: Path, event: PrepareFinished, speaker: str) -> Iterator[str]:
    """What a failed prepare printed, by the logs of a job that needs it."""
    if event.outcome is Outcome.FAILED:
        yield from excerpt(directory, directory.parent.parent.name, speaker)


def failure_tail(state: StateLayout, run_id: str, job: JobRecord) -> Iterator[str]:
    """What a failed job printed; long output without its middle."""
    if job.status is Status.FAILED:
        run = state.run(run_id)
        log = run.root / job.host_log_path if job.host_log_path else None
        yield from excerpt(log.parent if log else run.attempt(job.id, 1), job.id, job.id)


def run_end(state: StateLayout, run: RunRecord) -> Iterator[str]:
    """The lines that close a run: how it went, why, where the record is, what to type next."""
    yield run_status(run)
    if run.cause and run.cause.hint:
        yield run.cause.hint
    if run.cause and run.cause.code == CauseCode.RECORD_REMOVED:
        return
    yield from skipped_hosts([run])
    yield f"record {state.run(run.run_id).root}"
    if run.partial:
        left = [job.id for job in run.jobs if is_left_out(job)]
        yield f"partial: {len(run.jobs) - len(left)} of {len(run.jobs)} jobs were selected"
    if run.status is Status.FAILED:
        option = state_option(state)
        yield from failed_jobs(state, run, option)
        yield from run_failed_again([run], run.run_id, option)


def run_failed_again(bad: Sequence[RunRecord], of: str, option: str) -> Iterator[str]:
    """How to run what failed in `of`, a run or a batch, again.

    Of a commit that is not checked out, it can be run only as it was.
    """
    rerun = f"pikaci rerun {of} --failed{option}"
    if any(run.source_rev for run in bad):
        yield f"run the failed jobs again: {rerun}"
    else:
        # Without names, it is what failed in the last batch.
        named = [run.target_id for run in bad] if len(bad) <= NAMED else []
        yield f"run the failed jobs again: {' '.join(('pikaci run', *named))} --failed{option}"
        yield f"on the same snapshot: {rerun}"


def run_status(run: RunRecord) -> str:
    """How a run went, how long it took, and why: `failed in 4.2 s: job a exited with 1`."""
    kind = f" ({run.failure_kind})" if run.failure_kind else ""
    why = f": {run.message}" if run.message else ""
    took = between(run.created_at, run.finished_at)
    if run.cause and run.cause.code == CauseCode.FILTERED:
        return run.message or run.status
    return f"{run.status}{kind}{', partial,' if run.partial else ''} in {took}{why}"


def skipped_hosts(runs: Iterable[RunRecord]) -> Iterator[str]:
    """The hosts that jobs could not have, and why, each once."""
    rows = [row for run in runs for job in run.jobs for row in job.passed_over]
    for host, reason in dict.fromkeys((row.host, row.reason) for row in rows):
        yield f"host {host} was skipped: {reason}"


def failed_jobs(state: StateLayout, run: RunRecord, option: str) -> Iterator[str]:
    """How to look into each failed job of a run."""
    bad = [job for job in run.jobs if job.status is Status.FAILED]
    if not bad and run.status is Status.FAILED:
        yield f"full log: pikaci logs {run.run_id}{option}"
    for job in bad:
        what = f"job {job.id} {job_end(job, briefly=True)}; log" if len(bad) > 1 else "full log"
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
