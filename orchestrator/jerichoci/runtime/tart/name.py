"""The names of jobs' VMs, by which VMs that are not needed any more are found."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jerichoci.state.ids import is_id, is_run_id

FIRST = "pikaci"
OWNER_LETTERS = 12
PARTS = 5
SHELL_LOCK = "shell.lock"
"""In an attempt's directory: held while there is a shell in its VM, which runs only then."""

_ATTEMPT = re.compile("[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class VmName:
    """The VM of one attempt at a job: `pikaci.<owner>.<run id>.<job id>.<attempt>`.

    Tart has no labels. No id has a dot, and no other state root the same owner.
    """

    owner: str
    run_id: str
    job_id: str
    attempt: int

    def __str__(self) -> str:
        return f"{FIRST}.{self.owner}.{self.run_id}.{self.job_id}.{self.attempt}"


def owner_part(owner_id: str) -> str:
    """What names have of the id of a state root's owner."""
    return owner_id.replace("-", "")[:OWNER_LETTERS]


def parse_name(text: str) -> VmName | None:
    """The parts of a VM's name; None if it isn't the name of a job's VM."""
    parts = text.split(".")
    if len(parts) != PARTS:
        return None
    first, owner, run_id, job_id, attempt = parts
    known = first == FIRST and is_run_id(run_id) and is_id(job_id)
    if not known or not _ATTEMPT.fullmatch(attempt):
        return None
    return VmName(owner, run_id, job_id, int(attempt))
