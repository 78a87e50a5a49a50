"""Closing the runs of processes that died: done by `run`, `shell`, `reap` and `gc`, not by readers.

A run is dead if its `owner.lock` is free and its record isn't terminal. Closing it takes the lock,
looks again, writes the terminal record that the owner couldn't write, and then removes what the run
left behind. A run is closed even if something of it could not be removed: its reserve is kept then,
empty, and the next `reap` tries again.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from jerichoci.cleanup.guests import reap_dead_guests
from jerichoci.machine.process import end_recorded_groups
from jerichoci.record.dead import (
    dead_record,
    jobs_in,
    last_event,
    recorded_end,
    with_timings,
)
from jerichoci.record.journal import cut_half_line, write_line
from jerichoci.state import atomic
from jerichoci.state.clock import timestamp
from jerichoci.state.ids import is_run_id
from jerichoci.state.layout import (
    REMOVED_SUFFIX,
    UNBORN_SUFFIX,
    RunLayout,
    StateLayout,
    make_private,
)
from jerichoci.state.ledger import noted_guests
from jerichoci.state.owner import is_owned, owning, remove_unowned
from jerichoci.state.reading import read_run
from jerichoci.state.remove_tree import remove_tree
from jerichoci.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger("jerichoci")
CLOSE_SECS = 10.0
"""For the guests of dead runs to be removed after a run that was shorter than that."""


@contextmanager
def logging_errors(what: str) -> Iterator[None]:
    """Log an error instead of raising it: one damaged thing is no reason to leave the rest."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it is logged
        LOGGER.warning("%s: %s", what, error)


def close_if_dead(run: RunLayout) -> bool:
    """Close a run if its owner died; whether it did."""
    return run.reserve.exists() and not is_owned(run.root) and close_dead_run(run)


def close_dead_run(run: RunLayout) -> bool:
    """Write the terminal record of a run whose owner died; whether there was one to write.

    What it left behind is removed, too, if it wasn't when the record was written.
    """
    try:
        is_open = _close(run)
    except (OSError, ValueError, RecursionError):
        return False
    if is_open and _has_guests(run):
        with logging_errors(f"{run.run_id}: could not remove its guests"):
            reap_dead_guests(_state_of(run))
        # A guest writes into what it left as long as it runs, and not all of that is ours before.
        with suppress(OSError, ValueError, RecursionError):
            _close(run)
    return is_open


def _close(run: RunLayout) -> bool:
    with owning(run.root):
        # An unreadable record is not changed: `list` says so, and gc removes it later.
        values = with_timings(run, read_run(run))
        values["jobs"] = jobs_in(values)
        is_open = values.get("status") == Status.RUNNING
        if is_open:
            run.free_reserve()
            _end(run, values)
        if run.reserve.exists() and not (is_open and _has_guests(run)):
            with logging_errors(f"{run.run_id}: could not remove all that it left"):
                remove_tree(run.scratch)
                # Where records lie, and nowhere else: an artifact may have any name.
                for pattern in (f"*{atomic.TEMP_MARK}*", f"jobs/*/*{atomic.TEMP_MARK}*"):
                    for temp in run.root.glob(pattern):
                        temp.unlink(missing_ok=True)
                run.reserve.unlink(missing_ok=True)
        return is_open


def _has_guests(run: RunLayout) -> bool:
    return any(note.run_id == run.run_id for note in noted_guests(_state_of(run)))


def _state_of(run: RunLayout) -> StateLayout:
    return StateLayout(run.root.parent.parent)


def _end(run: RunLayout, values: dict[str, Any]) -> None:
    with logging_errors(f"{run.run_id}: could not end all that it started"):
        end_recorded_groups(run.scratch)
    try:
        cut_half_line(run.events)
        last, has_events = last_event(run), True
    except OSError:
        # The end can't be written to what isn't a file.
        last, has_events = None, False
    end = recorded_end(run, last, values)
    _write_end(run, end or dead_record(values), last, is_told=bool(end) or not has_events)


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

    No record is read of runs that are closed: a run keeps its reserve until then.
    """
    try:
        names = os.listdir(state.runs)  # noqa: PTH208 - once for each of 50,000 runs
    except FileNotFoundError:
        return []
    closed = []
    for name in names:
        with logging_errors(f"could not close {name}"):
            if _reap(state, name):
                closed.append(name)
    return closed


@contextmanager
def closing_dead_runs(state: StateLayout) -> Iterator[None]:
    """Close dead runs meanwhile; what isn't closed in time is left to the next run."""
    thread = threading.Thread(target=close_dead_runs, args=(state,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(CLOSE_SECS)


def _reap(state: StateLayout, name: str) -> bool:
    path = f"{state.runs}/{name}"
    if is_run_id(name):
        has_reserve = os.path.exists(f"{path}/reserve")  # noqa: PTH110 - once for each of 50,000 runs
        return has_reserve and close_if_dead(RunLayout(state.runs / name))
    if name.endswith(UNBORN_SUFFIX):
        remove_unowned(state, state.runs / name)
    elif name.endswith(REMOVED_SUFFIX):
        remove_tree(state.runs / name)
    return False
