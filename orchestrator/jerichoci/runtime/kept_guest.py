"""The note of a kept guest, and why it is missing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jerichoci.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jerichoci.runtime import Attempt
    from jerichoci.state.ledger import GuestLedger, GuestNote


def kept_note(
    notes: GuestLedger, name: object, attempt: Attempt, execution: Mapping[str, Any], *, kind: str
) -> GuestNote:
    """The note of the attempt's guest `name`, which is a `kind` of thing: a guest, or a VM."""
    note = next((note for note in notes.all() if note.name == name), None)
    if note is not None and note.is_kept():
        return note
    job_id = attempt.node.job_id
    until = note.kept_until if note is not None else execution.get("kept_until")
    if until is None:
        raise gone(attempt, f"run {attempt.run_id} did not keep the {kind} of {job_id}")
    if time.time() >= until:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(until))
        raise gone(attempt, f"the {kind} of job {job_id} was kept until {when}")
    raise gone(attempt, f"the {kind} of job {job_id} is gone")


def gone(attempt: Attempt, sentence: str) -> UsageError:
    """The error for a kept guest that is missing, with what to do about it."""
    return UsageError(
        sentence, f"to keep another one: `pikaci rerun {attempt.run_id} --keep always`"
    )
