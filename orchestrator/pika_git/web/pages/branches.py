"""The feed, and a branch."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import HTMLResponse

from pika_git.forge_service import details
from pika_git.forge_service.errors import MissingError
from pika_git.persistence.auth import Role
from pika_git.web.auth import ForgeDep
from pika_git.web.pages.render import Cursor, Id, page
from pika_git.web.routes import Routes

routes = Routes()


@routes.get("/", Role.READ, include_in_schema=False)
def feed(request: Request, forge: ForgeDep, cursor: Cursor = None) -> HTMLResponse:
    """Branches, what changed last first."""
    return page(request, "feed", feed=details.feed(forge, cursor))


@routes.get("/branches/{branch_id}", Role.READ, include_in_schema=False)
def branch(request: Request, forge: ForgeDep, branch_id: Id, cursor: Cursor = None) -> HTMLResponse:
    """A branch: what its newest run says, and the runs before it."""
    found = details.branch(forge, branch_id, cursor)
    if found is None:
        raise MissingError(f"there is no branch {branch_id}")
    return page(request, "branch", branch=found)
