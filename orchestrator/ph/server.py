"""The server's API over HTTP.

A GET is tried again when the connection is lost; what changes something is sent once. Redirects are
not followed: the token is for one server. Answers have an end: MOST_BYTES.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from ph.errors import NotAllowedError, PhError, RefusedError, ServerLostError, UsageError
from ph.screen import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPConnection, HTTPResponse

    from ph.settings import Login

T = TypeVar("T")

API = "/api/v1"
TIMEOUT_SECS = 30.0
RETRY_SECS = 3.0
"""How long a server may be away before it counts as lost."""
PATIENT_SECS = 60.0
"""The same for commands that wait: longer than a restart of the machine's services."""
FIRST_PAUSE_SECS = 0.2
LONGEST_PAUSE_SECS = 5.0
MOST_BYTES = 64 * 1024 * 1024
_ERROR_BYTES = 64 * 1024


class Answer:
    """A body and the headers that came with it."""

    def __init__(self, body: bytes, headers: dict[str, str]) -> None:
        self.body = body
        self.headers = headers


class Server:
    """One server, asked with one token."""

    def __init__(self, login: Login, retry_secs: float = RETRY_SECS) -> None:
        self.url = login.url
        self._token = login.token
        self._parts = urlsplit(login.url)
        self._retry_secs = retry_secs

    def get(self, path: str, /, **query: object) -> Any:  # noqa: ANN401 - JSON
        """The JSON at a path below the API; values of None are left out of the query."""
        return self._json(self.get_bytes(path, **query).body)

    def get_bytes(self, path: str, /, **query: object) -> Answer:
        """What is at a path below the API, whatever it is."""
        asked = {name: str(value) for name, value in query.items() if value is not None}
        full = f"{API}/{path}" + (f"?{urlencode(asked)}" if asked else "")
        return self.again(lambda: self._ask("GET", full))

    def post(self, path: str, secs: float = TIMEOUT_SECS, /, **values: object) -> Any:  # noqa: ANN401 - JSON
        """Have something done, which may take so long; its answer."""
        answer = self._ask("POST", f"{API}/{path}", json.dumps(values).encode(), secs)
        return self._json(answer.body)

    def delete(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Have something removed."""
        return self._json(self._ask("DELETE", f"{API}/{path}").body)

    def again(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer, or the server has been away for too long."""
        end = time.monotonic() + self._retry_secs
        pause = FIRST_PAUSE_SECS
        while True:
            try:
                return ask()
            except ServerLostError as error:
                if not error.may_return or time.monotonic() + pause > end:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECS)

    def _ask(
        self, method: str, path: str, body: bytes | None = None, secs: float = TIMEOUT_SECS
    ) -> Answer:
        from http.client import HTTPException

        connection = self._connection(secs)
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, self._parts.path + path, body, headers)
            with connection.getresponse() as response:
                return self._read(response)
        except (OSError, HTTPException) as error:
            reason = one_line(str(error) or type(error).__name__)
            raise ServerLostError(
                f"no answer from {self.url}: {reason}", "is `pika-git serve` running there?"
            ) from None
        finally:
            connection.close()

    def _connection(self, secs: float) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=secs)

    def _read(self, response: HTTPResponse) -> Answer:
        if not 200 <= response.status < 300:  # noqa: PLR2004 - HTTP
            self._refuse(response)
        body = response.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise UsageError(f"the answer of {self.url} is longer than 64 MiB")
        if response.length:  # `read` with a size says nothing of what is missing
            raise ServerLostError(f"the connection to {self.url} was cut")
        return Answer(body, {name.lower(): value for name, value in response.getheaders()})

    def _refuse(self, response: HTTPResponse) -> NoReturn:
        status = response.status
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP
            where = one_line(response.getheader("Location") or "nowhere")
            raise UsageError(
                f"{self.url} sends its callers to {where}", "if that is the server, give that URL"
            )
        message, hint = _sentences(response.read(_ERROR_BYTES))
        error = _kind(status)(message or f"{self.url} answered {status}", hint)
        if isinstance(error, ServerLostError):
            error.may_return = status in {502, 503, 504}
        raise error

    def _json(self, body: bytes) -> Any:  # noqa: ANN401 - JSON
        try:
            return json.loads(body) if body else None
        except ValueError:
            raise UsageError(
                f"what {self.url} answered is no JSON", "is this the address of a forge?"
            ) from None


def segment(name: object) -> str:
    """A name as one segment of a path."""
    return quote(str(name), safe="")


def _kind(status: int) -> type[PhError]:
    if status >= 500:  # noqa: PLR2004 - HTTP
        return ServerLostError
    if status in {401, 403}:
        return NotAllowedError
    return UsageError if status in {400, 404, 405, 422} else RefusedError


def _sentences(body: bytes) -> tuple[str | None, str | None]:
    try:
        error = json.loads(body)["error"]
        hint = error.get("hint")
        return str(error["message"]), None if hint is None else str(hint)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, None


def connect(*, patient: bool = False) -> Server:
    """The server that the settings name; `patient` is for commands that wait."""
    from ph.settings import load_login

    return Server(load_login(), PATIENT_SECS if patient else RETRY_SECS)
