"""What a plan says of the programs that run beside a job."""

from __future__ import annotations

from pydantic import Field

from jerichoci.plan.model import Id, Model


class Service(Model):
    """A program beside a job, or a guest of its own; `ready` succeeds once the job may begin."""

    name: Id
    command: str | None = Field(default=None, description="null for a guest")
    image: str | None = Field(default=None, description="the node of a guest's image")
    ready: str | None = None
    ready_secs: int = Field(gt=0)
    path: list[str] = Field(default=[], description="nodes whose `bin` comes first on its PATH")
