"""Who the caller is, whether the forge works, and what its API has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, PlainTextResponse, Response

from pika_git.persistence.auth import Role
from pika_git.persistence.database import DatabaseError
from pika_git.web.auth import ForgeDep, Who
from pika_git.web.routes import RoleRoute, Routes

routes = Routes(tag="system")


class WhoamiAnswer(BaseModel):
    """Who the caller is."""

    name: str
    role: str


class HealthAnswer(BaseModel):
    """Whether the forge works; if it doesn't, what keeps it from it, in sentences."""

    status: str
    problems: list[str]


@routes.get("/api/v1/whoami", Role.READ)
async def whoami(who: Who) -> WhoamiAnswer:
    """Who the caller is taken for."""
    return WhoamiAnswer(name=who.name, role=who.role_name)


@routes.get("/healthz", Role.PUBLIC, responses={503: {"model": HealthAnswer}})
def healthz(forge: ForgeDep) -> Response:
    """Whether the forge works: 200, or 503 with what keeps it from it."""
    problems = list(forge.problems())
    try:
        with forge.database.read() as connection:
            forge.database.clock(connection)
    except DatabaseError as error:
        problems.append(error.message)
    answer = HealthAnswer(status="failing" if problems else "ok", problems=problems)
    return JSONResponse(answer.model_dump(), 503 if problems else 200)


@routes.get("/openapi.json", Role.PUBLIC, include_in_schema=False)
async def openapi(request: Request) -> dict[str, Any]:
    """The API as OpenAPI."""
    found: dict[str, Any] = request.app.openapi()
    return found


@routes.get("/llms.txt", Role.PUBLIC, include_in_schema=False, response_class=PlainTextResponse)
async def llms(request: Request) -> str:
    """How to use the API, for programs that read text."""
    text = Path(__file__).with_name("llms.txt").read_text("utf-8")
    lines = [
        f"- {' '.join(sorted(route.methods or ()))} {route.path} ({route.role.name.lower()}):"
        f" {route.description.partition(chr(10))[0]}"
        for route in request.app.routes
        if isinstance(route, RoleRoute) and route.include_in_schema
    ]
    return text + "\n".join(lines) + "\n"
