"""A way to incusd that tests can cut, close, and have lose or refuse some of what is asked."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUFFER = 65536


class Fate(Enum):
    """What becomes of a request."""

    LOST = auto()
    """It never arrives, and the connection ends."""
    UNANSWERED = auto()
    """It is done, and the connection ends without an answer."""
    REFUSED = auto()
    """It is not done, and an error is the answer."""


@dataclass
class Doom:
    """What becomes of the requests like this one, the first `times` of them."""

    request: str
    """A regular expression of method and path, without the API's version and the query."""
    fate: Fate
    times: int = 1
    met: int = 0

    def meets(self, request: str) -> bool:
        if not re.fullmatch(self.request, request) or self.met >= self.times:
            return False
        self.met += 1
        return True


@dataclass
class Proxy:
    """Takes one request a connection, which keeps it simple."""

    path: Path
    upstream: Path
    dooms: list[Doom] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """Method and path of every request."""
    answered: list[tuple[str, int]] = field(default_factory=list)
    """Likewise of those that were answered, and how many had been seen by then."""
    _connections: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: _Server | None = None

    def doom(self, request: str, fate: Fate, times: int = 1) -> Doom:
        doom = Doom(request, fate, times)
        with self._lock:
            self.dooms.append(doom)
        return doom

    def count(self, request: str) -> int:
        """How many requests there were like this regular expression."""
        return sum(bool(re.fullmatch(request, seen)) for seen in list(self.seen))

    def open(self) -> None:
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Take no more connections: there is no socket any more."""
        assert self._server is not None
        self.path.unlink()
        self._server.shutdown()
        self._server.server_close()

    def cut(self) -> None:
        """End all connections."""
        with self._lock:
            cut = list(self._connections)
        for connection in cut:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def be_away(self, secs: float) -> None:
        """Cut all connections and take none for a while."""
        self.close()
        self.cut()
        time.sleep(secs)
        self.open()

    def take(self, request: str) -> Doom | None:
        """Note a request; what becomes of it, if not the usual."""
        with self._lock:
            self.seen.append(request)
            return next((doom for doom in self.dooms if doom.meets(request)), None)

    @contextlib.contextmanager
    def cutting(self, *connections: socket.socket) -> Iterator[None]:
        """Let connections be cut while the block runs."""
        with self._lock:
            self._connections.update(connections)
        try:
            yield
        finally:
            with self._lock:
                self._connections.difference_update(connections)


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(str(proxy.path), _Handler)
        self.proxy = proxy

    def handle_error(self, *_: object) -> None:
        """Say nothing: connections are cut on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _serve(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0].removeprefix("/1.0").strip("/")
        request = f"{self.command} {path}"
        doom = proxy.take(request)
        if doom and doom.fate is Fate.REFUSED:
            error = {"type": "error", "error": "refused for a test", "error_code": 500}
            self.send_response(500)
            self.end_headers()
            self.wfile.write(json.dumps(error).encode())
        elif not doom or doom.fate is Fate.UNANSWERED:
            self._pass_on(body, is_answered=doom is None)
            proxy.answered.append((request, len(proxy.seen)))

    def _pass_on(self, body: bytes, *, is_answered: bool) -> None:
        del self.headers["Connection"]
        self.headers["Connection"] = "close"
        head = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items())]
        with (
            socket.socket(socket.AF_UNIX) as upstream,
            self.server.proxy.cutting(self.connection, upstream),
        ):
            upstream.connect(str(self.server.proxy.upstream))
            upstream.sendall("\r\n".join([*head, "", ""]).encode() + body)
            while answer := upstream.recv(BUFFER):
                if is_answered:
                    self.connection.sendall(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - as http.server has them

    def log_message(self, *_: object) -> None:
        """Say nothing: requests are noted."""


@contextlib.contextmanager
def proxy_to(upstream: Path, path: Path) -> Iterator[Proxy]:
    """A way to incusd at `path`, while the block runs."""
    proxy = Proxy(path, upstream)
    proxy.open()
    try:
        yield proxy
    finally:
        proxy.close()
        proxy.cut()
