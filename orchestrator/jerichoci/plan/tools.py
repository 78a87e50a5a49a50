"""What a plan says of a job's development shell."""

from __future__ import annotations

from jerichoci.plan.model import Id, Model
from jerichoci.plan.rule import field


class DevShell(Model):
    """The node whose output is a script that gives the shell's variables and functions to bash."""

    node_id: Id
    bash: str = field(description="the bash that the shell itself is built with")
