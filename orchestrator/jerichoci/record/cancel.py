"""Asking a run to end: the request is a file, the signal only makes it quick."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from jerichoci.errors import UsageError
from jerichoci.state import atomic
from jerichoci.state.owner import LOCK_NAME, Owner, is_owned

if TYPE_CHECKING:
    from jerichoci.record.store import RunStore


def cancel_run(store: RunStore, run_id: str) -> None:
    """Ask a run to end; it does so by itself."""
    run = store.run(run_id)
    if store.is_over(run_id):
        summary = store.summary(run_id)
        how = summary.unreadable or summary.status
        raise UsageError(f"run {run_id} is over: {how}", "there is nothing to cancel")
    atomic.write_bytes(run.cancel_request, b"")
    if store.summary(run_id).batch:
        return  # a signal would cancel all runs of its process
    owner = Owner.read(run.root / LOCK_NAME)
    if owner and is_owned(run.root) and owner.is_alive():
        try:
            os.kill(owner.pid, signal.SIGTERM)
        except (ProcessLookupError, PermissionError):
            # It ended just now, or is another user's and will see the file.
            return
