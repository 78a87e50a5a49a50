"""Queue, workers, health, nightly, admin, login, and what is shown for an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Query, Request
from starlette.responses import HTMLResponse

from pika_git.forge_service import details
from pika_git.persistence.auth import Principal, Role
from pika_git.web.auth import ANONYMOUS, ForgeDep
from pika_git.web.pages.render import Cursor, page
from pika_git.web.routes import Routes

if TYPE_CHECKING:
    from pika_git.web.errors import ApiError

routes = Routes()


@routes.get("/queue", Role.READ, include_in_schema=False)
def queue(request: Request, forge: ForgeDep, cursor: Cursor = None) -> HTMLResponse:
    """What waits and why, and what runs where."""
    return page(request, "queue", queue=details.queue(forge, cursor))


@routes.get("/workers", Role.READ, include_in_schema=False)
def workers(request: Request, forge: ForgeDep) -> HTMLResponse:
    """The workers."""
    found = details.workers(forge)
    return page(request, "workers", workers=found, now=details.clock(forge))


@routes.get("/health", Role.READ, include_in_schema=False)
def health(request: Request, forge: ForgeDep) -> HTMLResponse:
    """Targets and hosts that fail."""
    return page(request, "health", health=details.health(forge))


@routes.get("/nightly", Role.READ, include_in_schema=False)
def nightly(request: Request, forge: ForgeDep, cursor: Cursor = None) -> HTMLResponse:
    """The nightly slots."""
    return page(request, "nightly", nightly=details.nightly(forge, cursor))


@routes.get("/admin", Role.ADMIN, include_in_schema=False)
def admin(request: Request, forge: ForgeDep, cursor: Cursor = None) -> HTMLResponse:
    """Repositories, workers, tokens, counters and the audit."""
    found = details.admin(forge, cursor)
    return page(request, "admin", admin=found, service_problems=forge.problems())


@routes.get("/login", Role.PUBLIC, include_in_schema=False)
def login(
    request: Request, next_path: Annotated[str, Query(alias="next", max_length=2000)] = "/"
) -> HTMLResponse:
    """Where a browser gets its session."""
    return page(request, "login", next=next_path)


def error_page(request: Request, error: ApiError) -> HTMLResponse:
    """What a person sees for an error."""
    if not isinstance(getattr(request.state, "principal", None), Principal):
        request.state.principal = ANONYMOUS
    message = error.message.rstrip(".")
    answer = page(request, "error", error.status, message=message, hint=error.hint)
    answer.headers.update(error.headers or {})
    return answer
