"""Style sheet, script and icon: their addresses change with their content, so they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from pika_git.web.pages.render import STATIC

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

KEPT = "public, max-age=31536000, immutable"


class _Kept(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        if b"v=" in scope.get("query_string", b""):
            answer.headers["Cache-Control"] = KEPT
        return answer


FILES = Mount("/static", _Kept(directory=STATIC))
