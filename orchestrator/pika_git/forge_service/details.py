"""What pages and the API show: one function a page, each in one read of the database.

A damaged row degrades what it is about, and says so in `problems`; no function fails because of
one. A function returns None for an id that doesn't exist. The shapes are in `model` and
`forge_model`.
"""

from __future__ import annotations

from pika_git.forge_service.admin_view import admin, nightly
from pika_git.forge_service.branches import branch, feed
from pika_git.forge_service.health_view import health
from pika_git.forge_service.queue_view import clock, queue, workers
from pika_git.forge_service.runs import lane, run
from pika_git.forge_service.timeline import recorded

__all__ = [
    "admin",
    "branch",
    "clock",
    "feed",
    "health",
    "lane",
    "nightly",
    "queue",
    "recorded",
    "run",
    "workers",
]
