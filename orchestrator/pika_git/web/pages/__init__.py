"""The pages: one request each, and they work without JavaScript."""

from __future__ import annotations

from pika_git.web.pages import acts, branches, forge, runs
from pika_git.web.pages.files import FILES
from pika_git.web.pages.forge import error_page

__all__ = ["ROUTES", "error_page"]

ROUTES = [
    FILES,
    *(route for module in (branches, runs, forge, acts) for route in module.routes.routes),
]
"""All of them, with the files that they are made of."""
