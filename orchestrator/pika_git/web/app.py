"""The web application: every route with its role, every answer with its headers."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.routing import Mount

from pika_git.settings import MIB
from pika_git.web import errors
from pika_git.web.api import ROUTES
from pika_git.web.login import routes as login
from pika_git.web.pages import ROUTES as PAGES
from pika_git.web.pages import error_page
from pika_git.web.routes import RoleRoute
from pika_git.web.streams import Growth, Pace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import BaseRoute
    from starlette.types import Message, Receive, Scope, Send

    from pika_git.forge_service.forge import Forge

STATIC = "/static"
"""The one folder that is served without a role: what the pages are made of, no data."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # `no-referrer` would make browsers send `Origin: null` with the forge's own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class App(FastAPI):
    """FastAPI, with headers on every answer, errors too, and an end to what it reads."""

    def stop(self) -> None:
        """Let what is answered without end be ended: the process ends."""
        self.state.growth.is_stopping = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                if self.state.forge.settings.is_https:
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        length = Headers(scope=scope).get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length) > (self.max_body_size or 0):
            # It is refused by its length alone: not a byte of it is read.
            answer = JSONResponse(
                errors.body(413, errors.TOO_LARGE, None), 413, {"Connection": "close"}
            )
            await answer(scope, receive, send_with_headers)
            return
        await super().__call__(scope, receive, send_with_headers)


def create(forge: Forge, more: Sequence[BaseRoute] = (), pace: Pace | None = None) -> App:
    """The application that serves a forge."""
    app = App(
        title="pika-git",
        version=version("pikaci"),
        openapi_url=None,  # FastAPI's own route has no role; `api.system` has one
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        max_body_size=forge.settings.limits.request_mib * MIB,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.state.forge = forge
    app.state.error_page = error_page
    app.state.growth = Growth()
    app.state.pace = pace or Pace()
    app.router.routes.extend([*ROUTES, *login.routes, *PAGES, *more])
    for route in app.routes:
        if not isinstance(route, RoleRoute) and not (
            isinstance(route, Mount) and route.path == STATIC
        ):
            raise TypeError(f"{route} has no role")
    errors.install(app)
    return app
