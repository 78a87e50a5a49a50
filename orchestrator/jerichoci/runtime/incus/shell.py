"""A shell in the guest of a job, which was kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from jerichoci.machine.terminal import on_terminal, window_size
from jerichoci.runtime.guest_runner import RUNNER, shell_variables
from jerichoci.runtime.incus.client import open_incus
from jerichoci.runtime.incus.thread import in_thread
from jerichoci.runtime.kept_guest import gone, kept_note
from jerichoci.state.notes import guest_notes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jerichoci.placement import Placement
    from jerichoci.runtime import Attempt
    from jerichoci.runtime.incus.api import ExecSession
    from jerichoci.runtime.incus.client import Incus
    from jerichoci.state.notes import GuestNote


async def open_guest_shell(
    placement: Placement, attempt: Attempt, execution: Mapping[str, Any], command: Sequence[str]
) -> int:
    """Open a shell in the guest of an attempt, or run a command in it; its exit code."""
    from jerichoci.runtime.incus.terminal import attend

    name = execution.get("instance")
    note = kept_note(guest_notes(attempt.state), name, attempt, execution, kind="guest")
    incus = await open_incus(placement)
    await in_thread(_check, incus, attempt, note)
    terminal = on_terminal()
    size = window_size() if terminal else None
    session = await in_thread(_begin, incus, attempt, note.name, command, size)
    return await attend(incus, session, terminal=terminal)


def _check(incus: Incus, attempt: Attempt, note: GuestNote) -> None:
    found = incus.instance(note.name)
    if found is None:
        raise gone(attempt, f"the guest of job {attempt.node.job_id} is gone")
    if not found.is_running:
        # Started again, it would be without the workspace that the runner mounted in it.
        status = found.status.lower()
        raise gone(attempt, f"the guest of job {attempt.node.job_id}, {note.name}, is {status}")


def _begin(
    incus: Incus,
    attempt: Attempt,
    name: str,
    command: Sequence[str],
    size: tuple[int, int] | None,
) -> ExecSession:
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
