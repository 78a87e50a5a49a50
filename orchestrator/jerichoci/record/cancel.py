"""Asking runs to end: the request is a file, the signal only makes it quick."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.state import atomic
from jerichoci.state.owner import LOCK_NAME, Owner, is_owned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jerichoci.record.store import RunStore


def cancel_runs(store: RunStore, run_ids: Sequence[str]) -> list[str]:
    """Ask runs to end, which do so by themselves; those that are not over yet.

    Raises:
        UsageError: all of them are over.
    """
    running = [run_id for run_id in run_ids if not store.is_over(run_id)]
    if not running:
        summary = store.summary(run_ids[0])
        how = summary.unreadable or summary.status
        is_one = len(run_ids) == 1
        what = f"run {run_ids[0]} is over: {how}" if is_one else "all runs of the batch are over"
        raise UsageError(what, "there is nothing to cancel")
    for run_id in running:
        atomic.write_bytes(store.run(run_id).cancel_request, b"")
    owners = {owner for run_id in running if (owner := _owner(store, run_id))}
    for owner in owners.difference(_owners_of_others(store, running)):
        try:
            os.kill(owner.pid, signal.SIGTERM)
        except (ProcessLookupError, PermissionError):
            # It ended just now, or is another user's and will see the file.
            continue
    return running


def _owner(store: RunStore, run_id: str) -> Owner | None:
    """The process of a run, if it lives."""
    run = store.run(run_id)
    owner = Owner.read(run.root / LOCK_NAME)
    return owner if owner and is_owned(run.root) and owner.is_alive() else None


def _owners_of_others(store: RunStore, run_ids: Sequence[str]) -> Iterator[Owner | None]:
    """The processes of runs of the same batches: a signal would cancel these, too."""
    for batch in {store.summary(run_id).batch for run_id in run_ids}:
        for other in store.runs_of_batch(batch) if batch else []:
            if other not in run_ids:
                yield _owner(store, other)
