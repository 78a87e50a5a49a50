"""What a plan says of the files that jobs leave, and that later jobs get."""

from __future__ import annotations

from jerichoci.machine.artifact_limits import MOST_MIB, ArtifactLimits
from jerichoci.plan.model import Id, Model
from jerichoci.plan.rule import field


class Artifacts(Model):
    """Which files of a job are kept, and for how long."""

    include: list[str] = field(default=[], description="globs of paths; none: all")
    max_mib: int = field(default=MOST_MIB, gt=0, description="of all files together")
    keep_days: int | None = field(default=None, gt=0, description="null: as long as the run")

    def limits(self) -> ArtifactLimits:
        return ArtifactLimits(tuple(self.include), self.max_mib)


class JobInput(Model):
    """Another job whose files the job sees: read-only, where `env` says."""

    job_id: Id
    env: str
    guest_path: str
