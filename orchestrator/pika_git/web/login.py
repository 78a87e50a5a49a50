"""A browser's session: begun with a token, ended by its user."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from pika_git.persistence import auth
from pika_git.persistence.auth import Role
from pika_git.web.auth import COOKIE, ForgeDep, Who, check_origin
from pika_git.web.errors import ApiError
from pika_git.web.routes import Routes

routes = Routes()


@routes.post("/login", Role.PUBLIC, include_in_schema=False)
def log_in(
    request: Request,
    forge: ForgeDep,
    token: Annotated[str, Form(max_length=200)],
    next_path: Annotated[str, Form(alias="next", max_length=2000)] = "/",
) -> Response:
    """Begin a session: its cookie, and on to where the user came from."""
    check_origin(request)
    with forge.database.read() as connection:
        principal = auth.by_token(connection, token.strip())
    if principal is None or principal.token_id is None:
        raise ApiError(403, "the token is not valid, or was revoked", "`pika-git token` makes one")
    secs = forge.settings.deadlines.session_secs
    with forge.database.write() as connection:
        now = forge.database.clock(connection)
        secret = auth.log_in(connection, principal.token_id, now, secs)
    answer = RedirectResponse(_own(next_path), HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        COOKIE,
        secret,
        max_age=secs,
        httponly=True,
        samesite="lax",
        secure=forge.settings.is_https,
    )
    return answer


@routes.post("/logout", Role.READ, include_in_schema=False)
def log_out(forge: ForgeDep, who: Who) -> Response:
    """End the session."""
    if who.session_id is not None:
        with forge.database.write() as connection:
            auth.log_out(connection, who.session_id)
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=forge.settings.is_https)
    return answer


def _own(path: str) -> str:
    """A path of this forge; a link to elsewhere becomes the first page."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own else "/"
