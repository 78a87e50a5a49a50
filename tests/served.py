"""A forge served over HTTP on loopback, for tests."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from pika_git.persistence import auth
from pika_git.web.app import App, create
from pika_git.web.auth import COOKIE
from pika_git.web.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pika_git.forge_service.forge import Forge
    from pika_git.web.streams import Pace

WAIT_SECS = 10.0


@dataclass
class Caller:
    """A program with a token, a browser with a session, or neither."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30), repr=False)

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's
        headers = self.headers | options.pop("headers", {})
        answer = self._client.request(method, self.url + path, headers=headers, **options)
        self._client.cookies.clear()  # what it sends is in its headers
        return answer

    def get(self, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's
        return self.send("GET", path, **options)

    def close(self) -> None:
        self._client.close()

    def post(self, path: str, **values: object) -> httpx.Response:
        return self.send("POST", path, json=values)


@dataclass
class Served:
    """A forge that is being served."""

    forge: Forge
    app: App
    url: str
    _callers: list[Caller] = field(default_factory=list)

    def close(self) -> None:
        for caller in self._callers:
            caller.close()

    def token(self, role: str, name: str = "ann") -> tuple[int, str]:
        with self.forge.database.write() as connection:
            now = self.forge.database.clock(connection)
            return auth.add_token(connection, name, role, now)

    def caller(self, role: str | None = None, by: str = "token") -> Caller:
        return self.with_headers(self._headers(role, by))

    def with_headers(self, headers: dict[str, str]) -> Caller:
        caller = Caller(self.url, headers)
        self._callers.append(caller)
        return caller

    def with_token(self, secret: str) -> Caller:
        return self.with_headers({"Authorization": f"Bearer {secret}"})

    def _headers(self, role: str | None, by: str) -> dict[str, str]:
        if role is None:
            return {}
        number, secret = self.token(role)
        if by == "token":
            return {"Authorization": f"Bearer {secret}"}
        with self.forge.database.write() as connection:
            now = self.forge.database.clock(connection)
            session = auth.log_in(connection, number, now, 3600)
        return {"Cookie": f"{COOKIE}={session}", "Origin": self.url}


@contextmanager
def serving(forge: Forge, pace: Pace | None = None) -> Iterator[Served]:
    """Serve a forge, without what the service does by itself."""
    app = create(forge, pace=pace)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        server = Server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until = time.monotonic() + WAIT_SECS
            while not server.started and time.monotonic() < until:
                time.sleep(0.005)
            with closing(
                Served(forge, app, f"http://127.0.0.1:{listening.getsockname()[1]}")
            ) as served:
                yield served
        finally:
            server.stop()
            thread.join(WAIT_SECS)
