"""What pages and the API show: one function a page, each in one read of the database.

A damaged row degrades what it is about, and says so in `problems`; no function fails because of
one. A function returns None for an id that doesn't exist.
"""

from __future__ import annotations

from pika_git.forge_service.branches import branch, feed
from pika_git.forge_service.model import (
    Act,
    Attempt,
    Branch,
    BranchLine,
    Feed,
    Lane,
    Run,
    RunLine,
    Selected,
    Source,
    Wait,
)
from pika_git.forge_service.runs import lane, run

__all__ = [
    "Act",
    "Attempt",
    "Branch",
    "BranchLine",
    "Feed",
    "Lane",
    "Run",
    "RunLine",
    "Selected",
    "Source",
    "Wait",
    "branch",
    "feed",
    "lane",
    "run",
]
