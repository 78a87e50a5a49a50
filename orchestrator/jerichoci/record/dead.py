"""The end of a run whose process died, as its last record should have said it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jerichoci.state.clock import timestamp
from jerichoci.state.ids import is_id
from jerichoci.state.owner import is_owned
from jerichoci.state.reading import parse, prepare_timings, read_file, read_run, rows
from jerichoci.status import CauseCode, FailureKind, Outcome, Status

if TYPE_CHECKING:
    from jerichoci.state.layout import RunLayout

ENDS = [status for status in Status if status.is_terminal]
MESSAGE = "the process that ran it died before the run was over"
HINT = "its logs are kept up to there; run it again with `pikaci rerun`"


def read_current(run: RunLayout, *, timings: bool = False) -> dict[str, Any]:
    """The run's record as it stands; a run whose owner died has ended, though no file says so.

    Only the terminal run.json has the times of prepares: with `timings` events are read for them.
    """
    values = read_run(run)
    if values.get("status") != Status.RUNNING:
        return values
    is_dead = not is_owned(run.root)
    if is_dead:
        # The owner may have ended the run between the two looks.
        values = read_run(run)
        if values.get("status") != Status.RUNNING:
            return values
    if timings:
        values = with_timings(run, values)
    if not is_dead:
        return values
    try:
        last = last_event(run)
    except OSError:
        last = None
    return recorded_end(run, last, values) or dead_record(values)


def with_timings(run: RunLayout, values: dict[str, Any]) -> dict[str, Any]:
    """A record that is not terminal, with the times of prepares that the events have."""
    return {**values, "prepare_timings": prepare_timings(run) or rows(values, "prepare_timings")}


def last_event(run: RunLayout) -> dict[str, Any] | None:
    """The last whole event, None if there is none."""
    try:
        lines = read_file(run.events).split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            event = parse(line)
        except ValueError:
            continue
        if isinstance(event.get("seq"), int):
            return event
    return None


def recorded_end(
    run: RunLayout, last: dict[str, Any] | None, values: dict[str, Any]
) -> dict[str, Any] | None:
    """The terminal record in a run's last event, if that is its end: it has the same jobs."""
    end = last.get("run") if last and last.get("event") == "run_finished" else None
    if not isinstance(end, dict) or end.get("run_id") != run.run_id:
        return None
    jobs = jobs_in(end)
    ids = [job["id"] for job in jobs_in(values)]
    is_whole = end.get("jobs") == jobs and [job["id"] for job in jobs] == ids
    return end if is_whole and end.get("status") in ENDS else None


def jobs_in(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The job records in a run record, without what can't be one."""
    found = rows(values, "jobs")
    return [row for row in found if isinstance(row.get("id"), str) and is_id(row["id"])]


def dead_record(values: dict[str, Any]) -> dict[str, Any]:
    """The terminal form of a record whose owner died."""
    now = timestamp()
    cause = {"phase": None, "code": CauseCode.OWNER_DIED, "message": MESSAGE, "hint": HINT}
    end = {
        "status": Status.FAILED,
        "failure_kind": FailureKind.INFRASTRUCTURE,
        "cause": cause,
        "finished_at": now,
    }
    timings = [
        {**row, "outcome": Outcome.FAILED, "finished_at": now}
        if row.get("outcome") == Outcome.STARTED
        else row
        for row in rows(values, "prepare_timings")
    ]
    jobs = [_dead_job(job, end) for job in jobs_in(values)]
    return {**values, **end, "message": MESSAGE, "jobs": jobs, "prepare_timings": timings}


def _dead_job(job: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    if job.get("status") != Status.RUNNING:
        return job
    attempts = rows(job, "attempts")
    if not attempts:
        # It had not begun.
        skipped = {"status": Status.SKIPPED, "failure_kind": None}
        return {**job, **end, **skipped}
    ended = [{**row, **end} if row.get("status") == Status.RUNNING else row for row in attempts]
    return {**job, **end, "attempts": ended}
