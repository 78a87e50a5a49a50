"""What the renderers say in common: durations, ends of jobs and runs, what a failure said last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.log import last_lines
from jerichoci.status import PhaseName, Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jerichoci.layout import StateLayout
    from jerichoci.record import JobRecord, RunRecord

FAILURE_LINES = 20
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
    except ValueError:
        return ""
    return duration(round(took.total_seconds() * SECOND_MS))


def job_end(job: JobRecord) -> str:
    """`passed`, or `failed (timeout): why`."""
    if job.status is Status.PASSED:
        return "passed"
    kind = f" ({job.failure_kind})" if job.failure_kind else ""
    why = f": {job.message}" if job.message else ""
    return f"{job.status}{kind}{why}"


HOST = "pikaci> "
"""Begins what the host did, in a host log."""
LAUNCHED = f"{HOST}{PhaseName.LAUNCH_GUEST} "
STOPPING = "ending: jobs get 10 s to end by themselves; Ctrl-C again ends them now"


def failure_tail(state: StateLayout, run_id: str, job: JobRecord) -> Iterator[str]:
    """The last lines that a failed job printed, or the builders that failed it."""
    if job.status is not Status.FAILED:
        return
    directory = _logs(state, run_id, job)
    # What a job prints is in guest.log if it has a guest, else in host.log.
    own = last_lines(directory / "guest.log", FAILURE_LINES + 1)
    if not own:
        own = _in_host_log(directory / "host.log")
    if len(own) > FAILURE_LINES:
        yield f"[the last {FAILURE_LINES} lines]"
    yield from own[-FAILURE_LINES:]


def _in_host_log(path: Path) -> list[str]:
    lines = last_lines(path, FAILURE_LINES * 3)
    launches = [number for number, line in enumerate(lines) if line.startswith(LAUNCHED)]
    said = lines[launches[-1] :] if launches else lines
    return [line for line in said if not line.startswith(HOST)]


def _logs(state: StateLayout, run_id: str, job: JobRecord) -> Path:
    """The directory of the last attempt's logs."""
    run = state.run(run_id)
    log = run.root / job.host_log_path if job.host_log_path else None
    return log.parent if log else run.attempt(job.id, 1)


def run_end(state: StateLayout, run: RunRecord) -> Iterator[str]:
    """The lines that close a run: how it went, why, where the record is, what to type next."""
    kind = f" ({run.failure_kind})" if run.failure_kind else ""
    why = f": {run.message}" if run.message else ""
    took = between(run.created_at, run.finished_at)
    yield f"{run.status}{kind} in {took}{why}"
    if run.cause and run.cause.hint:
        yield run.cause.hint
    passed_over = [(row.host, row.reason) for job in run.jobs for row in job.passed_over]
    for host, reason in dict.fromkeys(passed_over):
        yield f"host {host} was passed over: {reason}"
    yield f"record {state.run(run.run_id).root}"
    if run.status is Status.FAILED:
        bad = next((job for job in run.jobs if job.status is Status.FAILED), None)
        option = f" --job {bad.id}" if bad else ""
        yield f"all of it: pikaci logs {run.run_id}{option}"
        yield f"again on the same snapshot: pikaci rerun {run.run_id} --failed"
        if bad and (state.run(run.run_id).scratch / f"{bad.id}-{bad.attempt}").is_dir():
            yield f"what it ran in is kept: pikaci shell {run.run_id} {bad.id}"


def run_start(run: RunRecord) -> str:
    """The line that opens a run: its id, and which run it does again."""
    again = f", {run.rerun_of} again on its snapshot" if run.rerun_of else ""
    return f"run {run.run_id}{again}"
