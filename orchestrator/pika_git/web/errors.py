"""What a caller gets when something can't be done: JSON, or a page for a browser.

`{"error": {"code", "message", "hint"}}`: the code for programs, the sentences for people.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from pika_git.forge_service.errors import ConflictError, GoneError, InvalidError, MissingError
from pika_git.persistence.database import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import FastAPI
    from starlette.requests import Request

log = logging.getLogger("pika_git")

CODES = {
    400: "invalid",
    401: "unauthenticated",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    410: "gone",
    413: "too_large",
    422: "invalid",
    500: "internal",
    503: "unavailable",
}
_STATUSES = {ConflictError: 409, MissingError: 404, InvalidError: 422, GoneError: 410}
MOST_PROBLEMS = 5
"""How many mistakes of a request its answer names."""


class ErrorAnswer(BaseModel):
    """An error: `code` for programs, `message` and `hint` for people."""

    error: dict[str, str | None]


class ApiError(Exception):
    """A request that can't be answered; HTTP's status, a sentence, and what may help."""

    def __init__(
        self,
        status: int,
        message: str,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.headers = headers


def install(app: FastAPI) -> None:
    """Let every error of an app be answered in its form."""
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(DatabaseError, _on_database_error)
    for kind, status in _STATUSES.items():
        app.add_exception_handler(kind, _sentence_with(status))
    app.add_exception_handler(Exception, _on_fault)


def body(status: int, message: str, hint: str | None) -> dict[str, object]:
    """An error as JSON values."""
    return {"error": {"code": CODES.get(status, "error"), "message": message, "hint": hint}}


def _answer(request: Request, error: ApiError) -> Response:
    if is_page(request):
        if error.status == HTTPStatus.UNAUTHORIZED and request.method == "GET":
            return _to_login(request)
        show = request.app.state.error_page
        if show is not None:
            page: Response = show(request, error)
            return page
    return JSONResponse(
        body(error.status, error.message, error.hint), error.status, dict(error.headers or {})
    )


def is_page(request: Request) -> bool:
    """Whether a person looks at the answer, in a browser."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(
        "/api/"
    )


def _to_login(request: Request) -> Response:
    from urllib.parse import urlencode

    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?{urlencode({'next': path})}", HTTPStatus.SEE_OTHER)


def _on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - it is registered for these
    return _answer(request, error)


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    message = {
        404: f"there is nothing at {request.url.path}",
        405: f"{request.url.path} can't be asked by {request.method}",
        413: TOO_LARGE,
        400: "the body can't be read",
    }.get(error.status_code, error.detail)
    return _answer(request, ApiError(error.status_code, message, headers=error.headers))


TOO_LARGE = "the body of the request is too large"


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for these
    found = [_problem(each) for each in error.errors()[:MOST_PROBLEMS]]
    return _answer(request, ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(found)))


def _problem(error: Mapping[str, object]) -> str:
    place = error.get("loc")
    path = [str(part) for part in place] if isinstance(place, tuple) else []
    where = " ".join((path[0], f"`{'.'.join(path[1:])}`")) if path[1:] else "".join(path)
    return f"{where}: {error.get('msg')}"


def _on_database_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DatabaseError)  # noqa: S101 - it is registered for these
    log.error("%s", error.message)
    return _answer(request, ApiError(503, error.message, error.hint, headers={"Retry-After": "5"}))


def _sentence_with(status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        return _answer(request, ApiError(status, str(error), getattr(error, "hint", None)))

    return answer


def _on_fault(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    message = f"the forge failed to answer: {type(error).__name__}"
    return _answer(request, ApiError(500, message, "see the service's log"))
