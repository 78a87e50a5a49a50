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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD_END = b"\r\n\r\n"
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

    method: str
    path: str
    """A regular expression for all of the path, without the API's version and the query."""
    fate: Fate
    times: int = 1
    met: int = 0

    def meets(self, method: str, path: str) -> bool:
        if method != self.method or not re.fullmatch(self.path, path) or self.met >= self.times:
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
    _open: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _listener: socket.socket | None = None
    _accepting: threading.Thread | None = None

    def doom(self, method: str, path: str, fate: Fate, times: int = 1) -> Doom:
        doom = Doom(method, path, fate, times)
        with self._lock:
            self.dooms.append(doom)
        return doom

    def has_seen(self, request: str) -> bool:
        """Whether there was a request like this regular expression."""
        return any(re.fullmatch(request, seen) for seen in list(self.seen))

    def open(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,))
        self._accepting.start()

    def close(self) -> None:
        """Take no more connections: there is no socket any more."""
        assert self._listener is not None
        assert self._accepting is not None
        self.path.unlink()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()

    def cut(self) -> int:
        """End all connections; how many there were."""
        with self._lock:
            cut = list(self._open)
        for connection in cut:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        return len(cut)

    def be_away(self, secs: float) -> None:
        """Cut all connections and take none for a while."""
        self.close()
        self.cut()
        time.sleep(secs)
        self.open()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            with self._lock:
                self._open |= {client, server}
            try:
                self._pass_on(client, server)
            finally:
                with self._lock:
                    self._open -= {client, server}

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        head, body = _request(client)
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        path = target.partition("?")[0].removeprefix("/1.0").strip("/")
        with self._lock:
            self.seen.append(f"{method} {path}")
            doom = next((doom for doom in self.dooms if doom.meets(method, path)), None)
        if doom and doom.fate is Fate.LOST:
            return
        if doom and doom.fate is Fate.REFUSED:
            client.sendall(_refusal())
            return
        server.connect(str(self.upstream))
        server.sendall(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + HEAD_END + body)
        answer = server.recv(BUFFER)
        while answer:
            if not doom:
                client.sendall(answer)
            answer = server.recv(BUFFER)
        with self._lock:
            self.answered.append((f"{method} {path}", len(self.seen)))


def _request(client: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while HEAD_END not in data:
        data += _more(client)
    head, _, body = data.partition(HEAD_END)
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    length = [line for line in lines if line.lower().startswith(b"content-length:")]
    expected = int(length[0].split(b":")[1]) if length else 0
    while len(body) < expected:
        body += _more(client)
    return b"\r\n".join(lines), body


def _more(client: socket.socket) -> bytes:
    data = client.recv(BUFFER)
    if not data:
        raise ConnectionError("the client has gone")
    return data


def _refusal() -> bytes:
    error = {"type": "error", "error": "refused for a test", "error_code": 500}
    body = json.dumps(error).encode()
    head = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


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
