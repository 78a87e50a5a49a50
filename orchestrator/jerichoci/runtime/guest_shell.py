"""A shell in the guest of a job, which was kept."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from jerichoci.errors import UsageError
from jerichoci.incus.note import guest_notes
from jerichoci.incus.thread import in_thread
from jerichoci.runtime.guest_job import RUNNER, shell_variables
from jerichoci.terminal import on_terminal, window_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jerichoci.incus.api import Incus, Session
    from jerichoci.incus.note import GuestNote
    from jerichoci.placement import Placement
    from jerichoci.runtime import Attempt


async def open_guest_shell(
    placement: Placement, attempt: Attempt, execution: Mapping[str, Any], command: Sequence[str]
) -> int:
    """Open a shell in the guest of an attempt, or run a command in it; its exit code.

    Raises:
        UsageError: the guest was not kept, or it is gone.
        InfrastructureError: Incus can't be reached, or the connection broke.
    """
    from jerichoci.incus.session import attend

    note = _kept(attempt, execution)
    incus = await placement.incus()
    await in_thread(_check, incus, attempt, note)
    terminal = on_terminal()
    size = window_size() if terminal else None
    session = await in_thread(_begin, incus, attempt, note.name, command, size)
    return await attend(incus, session, terminal=terminal)


def _kept(attempt: Attempt, execution: Mapping[str, Any]) -> GuestNote:
    """The note of the attempt's guest."""
    name = execution.get("instance")
    notes = guest_notes(attempt.state)
    note = next((note for note in notes.all() if note.name == name), None)
    if note is not None and note.is_kept():
        return note
    until = note.kept_until if note is not None else execution.get("kept_until")
    if until is None:
        raise _refusal(attempt, f"run {attempt.run_id} kept no guest of job {attempt.node.job_id}")
    if time.time() >= until:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(until))
        raise _refusal(attempt, f"the guest of job {attempt.node.job_id} was kept until {when}")
    raise _refusal(attempt, f"the guest of job {attempt.node.job_id} is gone")


def _check(incus: Incus, attempt: Attempt, note: GuestNote) -> None:
    found = incus.instance(note.name)
    if found is None:
        raise _refusal(attempt, f"the guest of job {attempt.node.job_id} is gone")
    if not found.is_running:
        # Started again, it would be without the workspace that the runner mounted in it.
        status = found.status.lower()
        raise _refusal(attempt, f"the guest of job {attempt.node.job_id}, {note.name}, is {status}")


def _refusal(attempt: Attempt, sentence: str) -> UsageError:
    return UsageError(sentence, f"`pikaci rerun {attempt.run_id} --keep always` keeps another one")


def _begin(
    incus: Incus,
    attempt: Attempt,
    name: str,
    command: Sequence[str],
    size: tuple[int, int] | None,
) -> Session:
    node = attempt.node
    variables = shell_variables(
        node.execute,
        attempt.inputs,
        command,
        terminal=size is not None,
        prompt=f"{node.job_id}$ ",
    )
    variables["TERM"] = os.environ.get("TERM", "dumb")
    return incus.begin(name, [RUNNER, "--shell"], variables, size)
