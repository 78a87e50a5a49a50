"""What a plan says of the programs that run beside a job."""

from __future__ import annotations

from jerichoci.plan.model import Id, Model
from jerichoci.plan.rule import field


class Service(Model):
    """A program beside a job, or a guest of its own; `ready` succeeds once the job may begin."""

    name: Id
    command: str | None = field(default=None, description="null for a guest")
    image: str | None = field(default=None, description="the node of a guest's image")
    ready: str | None = None
    ready_secs: int = field(gt=0)
    path: list[str] = field(default=[], description="nodes whose `bin` comes first on its PATH")
