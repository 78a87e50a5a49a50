"""The names of jobs' VMs, by which VMs that are not needed any more are found."""

from __future__ import annotations

import re

from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import ID_PATTERN, RUN_ID_PATTERN

SHELL_LOCK = "shell.lock"
"""In an attempt's directory: held while there is a shell in its VM, which runs only then."""

_NAME = re.compile(rf"pikaci\.([^.]*)\.({RUN_ID_PATTERN})\.({ID_PATTERN})\.([1-9][0-9]{{0,8}})")


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
        return f"pikaci.{self.owner}.{self.run_id}.{self.job_id}.{self.attempt}"


def parse_name(text: str) -> VmName | None:
    """The parts of a VM's name; None if it isn't the name of a job's VM."""
    found = _NAME.fullmatch(text)
    return VmName(found[1], found[2], found[3], int(found[4])) if found else None
