"""Ending the runs of processes that died.

Whoever finds a run whose `owner.lock` is free and whose record isn't terminal takes the lock, looks
again, writes the terminal record the owner couldn't write, and then removes what the run left
behind. What can't be removed doesn't keep a run from its end: its reserve, empty, stays as well,
for whom reaps later to try again.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from jerichoci.cleanup.guests import noted_guests, reap_dead_guests
from jerichoci.machine.process import end_recorded_groups
from jerichoci.machine.workspace import remove_tree
from jerichoci.record.journal import last_event, write_line
from jerichoci.state import atomic
from jerichoci.state.clock import timestamp
from jerichoci.state.ids import is_id, is_run_id
from jerichoci.state.layout import (
    REMOVED_SUFFIX,
    UNBORN_SUFFIX,
    RunLayout,
    StateLayout,
    make_private,
)
from jerichoci.state.owner import is_owned, owning
from jerichoci.state.reading import prepare_timings, read_run, rows
from jerichoci.state.removal import remove_unowned
from jerichoci.status import CauseCode, FailureKind, Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger("jerichoci")
ENDS = [status for status in Status if status.is_terminal]
MESSAGE = "the process that ran it died before the run was over"
HINT = "its logs are kept up to there; run it again with `pikaci rerun`"


@contextmanager
def going_on(what: str) -> Iterator[None]:
    """Tell of an error instead of raising it: one damaged thing is no reason to leave the rest."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        LOGGER.warning("%s: %s", what, error)


def close_dead_run(run: RunLayout) -> bool:
    """Write the terminal record of a run whose owner died; whether there was one to write.

    What it left behind is removed, too, if it wasn't when the record was written.
    """
    try:
        is_open = _close(run)
    except (OSError, ValueError, RecursionError):
        return False
    if is_open and _has_guests(run):
        with going_on(f"{run.run_id}: its guests may stay"):
            reap_dead_guests(_state_of(run))
        # A guest writes into what it left as long as it runs, and not all of that is ours before.
        with suppress(OSError, ValueError, RecursionError):
            _close(run)
    return is_open


def _close(run: RunLayout) -> bool:
    with owning(run.root):
        # An unreadable record stays as it is: the list says so, and gc removes it in its time.
        values = read_values(run)
        is_open = values.get("status") == Status.RUNNING
        if is_open:
            run.free_reserve()
            _end(run, values)
        if run.reserve.exists() and not (is_open and _has_guests(run)):
            with going_on(f"{run.run_id}: something it left stays"):
                remove_leftovers(run)
                run.reserve.unlink(missing_ok=True)
        return is_open


def _has_guests(run: RunLayout) -> bool:
    return any(note.run_id == run.run_id for note in noted_guests(_state_of(run)))


def _state_of(run: RunLayout) -> StateLayout:
    return StateLayout(run.root.parent.parent)


def _end(run: RunLayout, values: dict[str, Any]) -> None:
    with going_on(f"{run.run_id}: what it started may go on"):
        end_recorded_groups(run.scratch)
    try:
        last, has_events = last_event(run.events), True
    except OSError:
        # What isn't a file can't be told of the end.
        last, has_events = None, False
    end = _end_in(run, last, values)
    _write_end(run, end or dead_record(values), last, is_told=bool(end) or not has_events)


def read_values(run: RunLayout) -> dict[str, Any]:
    """run.json as JSON values, without what can't be a job or a timing.

    Raises:
        OSError: it can't be read.
        ValueError: it is no JSON object.
    """
    values = read_run(run)
    timings = prepare_timings(run) or rows(values, "prepare_timings")
    return {**values, "jobs": _jobs(values), "prepare_timings": timings}


def _jobs(values: dict[str, Any]) -> list[dict[str, Any]]:
    found = rows(values, "jobs")
    return [row for row in found if isinstance(row.get("id"), str) and is_id(row["id"])]


def _end_in(
    run: RunLayout, last: dict[str, Any] | None, values: dict[str, Any]
) -> dict[str, Any] | None:
    """The terminal record in a run's last event, if that is its end: it has the same jobs."""
    end = last.get("run") if last and last.get("event") == "run_finished" else None
    if not isinstance(end, dict) or end.get("run_id") != run.run_id:
        return None
    jobs = _jobs(end)
    ids = [job["id"] for job in values["jobs"]]
    is_whole = end.get("jobs") == jobs and [job["id"] for job in jobs] == ids
    return end if is_whole and end.get("status") in ENDS else None


def remove_leftovers(run: RunLayout) -> None:
    """Remove what only a live run needs."""
    remove_tree(run.scratch)
    # Where records lie, and nowhere else: an artifact may have any name.
    for place in ("", "jobs/*/"):
        for temp in run.root.glob(f"{place}*{atomic.TEMP_MARK}*"):
            temp.unlink(missing_ok=True)


def dead_record(values: dict[str, Any]) -> dict[str, Any]:
    """The terminal form of a record whose owner died."""
    now = timestamp()
    cause = {"phase": None, "code": CauseCode.OWNER_DIED, "message": MESSAGE, "hint": HINT}
    jobs = [_dead_job(job, now, cause) for job in values["jobs"]]
    end = {
        "status": Status.FAILED,
        "failure_kind": FailureKind.INFRASTRUCTURE,
        "cause": cause,
        "message": MESSAGE,
        "finished_at": now,
        "jobs": jobs,
        "prepare_timings": [
            {**row, "outcome": Outcome.FAILED, "finished_at": now}
            if row.get("outcome") == Outcome.STARTED
            else row
            for row in values["prepare_timings"]
        ],
    }
    return {**values, **end}


def _dead_job(job: dict[str, Any], now: str, cause: dict[str, Any]) -> dict[str, Any]:
    if job.get("status") != Status.RUNNING:
        return job
    if not rows(job, "attempts"):
        # It had not begun.
        return {**job, "status": Status.SKIPPED, "cause": cause, "finished_at": now}
    end = {
        "status": Status.FAILED,
        "failure_kind": FailureKind.INFRASTRUCTURE,
        "cause": cause,
        "finished_at": now,
    }
    attempts = [
        {**row, **end} if row.get("status") == Status.RUNNING else row
        for row in rows(job, "attempts")
    ]
    return {**job, **end, "attempts": attempts}


def _write_end(
    run: RunLayout, values: dict[str, Any], last: dict[str, Any] | None, *, is_told: bool
) -> None:
    for job in values["jobs"]:
        path = run.status(job["id"])
        make_private(path.parent)
        atomic.write_json(path, job)
    if not is_told:
        seq = last["seq"] + 1 if last else 0
        event = {"event": "run_finished", "schema_version": 1, "seq": seq, "ts": timestamp()}
        fd = os.open(run.events, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            write_line(fd, {**event, "run_id": run.run_id, "run": values})
        finally:
            os.close(fd)
    atomic.write_json(run.record, values)


def close_dead_runs(state: StateLayout) -> list[str]:
    """Close every run whose owner died and remove those that died while being born; their ids.

    Costs one look per run, not one read: a run keeps its reserve until it is terminal.
    """
    try:
        names = os.listdir(state.runs)  # noqa: PTH208 - once for each of 50,000 runs
    except FileNotFoundError:
        return []
    closed = []
    for name in names:
        with going_on(f"{name} can't be reaped"):
            if _reap(state, name):
                closed.append(name)
    return closed


def _reap(state: StateLayout, name: str) -> bool:
    path = f"{state.runs}/{name}"
    if is_run_id(name):
        has_reserve = os.path.exists(f"{path}/reserve")  # noqa: PTH110 - once for each of 50,000 runs
        run = RunLayout(state.runs / name) if has_reserve else None
        return run is not None and not is_owned(run.root) and close_dead_run(run)
    if name.endswith(UNBORN_SUFFIX):
        remove_unowned(state, state.runs / name)
    elif name.endswith(REMOVED_SUFFIX):
        remove_tree(state.runs / name)
    return False
