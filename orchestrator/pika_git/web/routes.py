"""Routes that say which role they need. There is no other kind: `app.create` refuses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from fastapi.routing import APIRoute

from pika_git.web.auth import admit
from pika_git.web.errors import ErrorAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.requests import Request
    from starlette.responses import Response

    from pika_git.persistence.auth import Role

    EndpointT = TypeVar("EndpointT", bound=Callable[..., Any])


_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "It was not done"},
    503: {"model": ErrorAnswer, "description": "The database can't be used"},
}


class RoleRoute(APIRoute):
    """A route for callers that have `role`; it is looked at before anything of the request is."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        role: Role,
        **options: Any,  # noqa: ANN401 - FastAPI's
    ) -> None:
        self.role = role
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind the look at the role."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            await admit(request, self.role)
            return await handle(request)

        return handler


class Routes:
    """The routes of a module, each declared with its role."""

    def __init__(self, prefix: str = "", tag: str | None = None) -> None:
        self.prefix = prefix
        self.tags: list[Any] = [tag] if tag else []
        self.routes: list[RoleRoute] = []

    def get(self, path: str, role: Role, **options: Any) -> Callable[[EndpointT], EndpointT]:  # noqa: ANN401 - FastAPI's
        """Answer GET."""
        return self._add("GET", path, role, options)

    def post(self, path: str, role: Role, **options: Any) -> Callable[[EndpointT], EndpointT]:  # noqa: ANN401 - FastAPI's
        """Answer POST."""
        return self._add("POST", path, role, options)

    def delete(self, path: str, role: Role, **options: Any) -> Callable[[EndpointT], EndpointT]:  # noqa: ANN401 - FastAPI's
        """Answer DELETE."""
        return self._add("DELETE", path, role, options)

    def _add(
        self, method: str, path: str, role: Role, options: dict[str, Any]
    ) -> Callable[[EndpointT], EndpointT]:
        def add(endpoint: EndpointT) -> EndpointT:
            options.setdefault("tags", self.tags)
            options["responses"] = {**_ERRORS, **options.get("responses", {})}
            self.routes.append(
                RoleRoute(self.prefix + path, endpoint, role=role, methods=[method], **options)
            )
            return endpoint

        return add
