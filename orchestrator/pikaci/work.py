"""A run to be: a planned target, which of its jobs, what it repeats, what changes it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.state.dataclass import dataclass
from pikaci.nearest import no_job

if TYPE_CHECKING:
    from pikaci.sourcing import Planned


@dataclass(frozen=True)
class Filtered:
    """The files that changed, the globs that ask about them, and why the run is skipped, if so."""

    changed_files: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    skip_reason: str | None = None


@dataclass(frozen=True)
class Work:
    """What a run does; without `jobs`, all of the target's."""

    planned: Planned
    jobs: tuple[str, ...] = ()
    rerun_of: str | None = None
    filtered: Filtered = Filtered()

    def checked_jobs(self) -> frozenset[str] | None:
        """The jobs, which the target has; None for all."""
        plan = self.planned.plan
        known = [node.job_id for node in plan.jobs]
        for job in self.jobs:
            if job not in known:
                raise no_job(f"target {plan.target_id}", job, known)
        return frozenset(self.jobs) if self.jobs else None
