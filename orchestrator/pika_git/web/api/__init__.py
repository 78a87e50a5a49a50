"""The API: a module for each thing that it is about."""

from __future__ import annotations

from pika_git.web.api import branches, lanes, logs, operation, reading, system

ROUTES = [
    route
    for module in (system, reading, logs, lanes, branches, operation)
    for route in module.routes.routes
]
"""All of them."""
