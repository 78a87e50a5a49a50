"""What a plan says of the directories that jobs find again as earlier ones left them."""

from __future__ import annotations

from typing import Literal

from jerichoci.plan.model import Id, Model
from jerichoci.plan.rule import field


class Cache(Model):
    """A directory of a job; `key` are globs of the files that decide on the right entry."""

    name: Id
    path: str = field(description="absolute, or below the home of the job's user: `~/...`")
    key: list[str] = field(default=[])
    scope: Literal["target", "repository"] = "repository"
    size_mib: int = field(gt=0)
