"""Who asks, and whether they may.

A program sends a token (`Authorization: Bearer ph_...`), a browser the cookie of its session. What
a session changes must come from a page of the forge's own: the browser says where a request began.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from pika_git.forge_service.forge import Forge
from pika_git.persistence import auth
from pika_git.persistence.auth import Principal, Role
from pika_git.persistence.database import DatabaseError
from pika_git.web.errors import ApiError

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

COOKIE = "pika_session"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ANONYMOUS = Principal("anonymous", Role.PUBLIC)
_LOG_IN = "give a token: `ph login`, or `Authorization: Bearer ph_...`"


def forge_of(connection: HTTPConnection) -> Forge:
    """The forge that an app serves."""
    forge: Forge = connection.app.state.forge
    return forge


async def _forge(request: Request) -> Forge:
    return forge_of(request)


async def _principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


ForgeDep = Annotated[Forge, Depends(_forge)]
"""The forge, as a parameter of a route."""
Who = Annotated[Principal, Depends(_principal)]
"""Who asks, as a parameter of a route."""


async def admit(request: Request, role: Role) -> None:
    """Let a request pass if its caller has the role."""
    request.state.principal = ANONYMOUS
    if role is Role.PUBLIC:
        return
    principal = await run_in_threadpool(identify, request)
    if principal.role < role:
        if principal is ANONYMOUS or principal.token_id is None:
            raise ApiError(401, "log in first", _LOG_IN, {"WWW-Authenticate": "Bearer"})
        raise ApiError(
            403,
            f"{principal.name} has the role {principal.role_name}; this needs {role.name.lower()}",
        )
    if principal.session_id is not None and request.method not in SAFE_METHODS:
        check_origin(request)
    request.state.principal = principal


def identify(request: HTTPConnection) -> Principal:
    """Who asks, by the database as it is now; a token that isn't valid is an error."""
    forge = forge_of(request)
    header = request.headers.get("authorization")
    cookie = request.cookies.get(COOKIE)
    principal = None
    if header is not None:
        principal = _by_header(forge, header)
    elif cookie:
        with forge.database.read() as connection:
            principal = auth.by_session(connection, cookie, forge.database.clock(connection))
    if principal is None:
        is_open = forge.settings.public_read
        return Principal("anonymous", Role.READ) if is_open else ANONYMOUS
    _note_use(forge, principal)
    return principal


def _by_header(forge: Forge, header: str) -> Principal:
    scheme, _, secret = header.partition(" ")
    secret = secret.strip()
    if scheme.lower() == "bearer" and secret.startswith(auth.PREFIX):
        with forge.database.read() as connection:
            principal = auth.by_token(connection, secret)
        if principal is not None:
            return principal
    raise ApiError(
        401, "the token is not valid, or was revoked", _LOG_IN, {"WWW-Authenticate": "Bearer"}
    )


def _note_use(forge: Forge, principal: Principal) -> None:
    token, used_at = principal.token_id, principal.used_at
    if token is None:
        return
    with suppress(DatabaseError):  # a full disk is no reason not to answer
        with forge.database.read() as connection:
            now = forge.database.clock(connection)
        if used_at is None or now - used_at >= auth.USED_SECS:
            with forge.database.write() as connection:
                auth.note_use(connection, token, now)


def check_origin(request: Request) -> None:
    """Refuse what another site had a browser send."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site in {"same-origin", "none"}:
            return
    else:
        with suppress(ValueError):  # it isn't a URL
            origin = urlsplit(request.headers.get("origin", ""))
            public = urlsplit(forge_of(request).settings.public_url).netloc
            if origin.netloc and origin.netloc in {request.headers.get("host"), public}:
                return
    raise ApiError(
        403, "the request does not come from a page of this forge", "send a token instead"
    )
