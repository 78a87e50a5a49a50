"""HTTP/1.1 to a unix socket, whose connections are kept for later requests.

It needs none of the standard library's `http.client`, whose import takes longer than all requests
for a guest's start but the one that creates it.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import BufferedReader
    from pathlib import Path

LINE_BYTES = 64 * 1024
"""The longest line of an answer's head."""
MOST_LINES = 1000
CONTINUE, SUCCESS, NO_CONTENT = 100, 200, 204


@dataclass(frozen=True)
class Answer:
    """An answer, whatever its status."""

    status: int
    content: bytes
    etag: str = ""

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:  # noqa: ANN401 - JSON
        """The content as JSON; ValueError if it is none."""
        return json.loads(self.content)


class Connections:
    """Connections to a socket: as many as there are requests at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()
        self.close = weakref.finalize(self, _close_all, self._idle)
        """Closes those that no request has, at the latest with the last use of this object."""

    def request(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str], *, secs: float
    ) -> Answer:
        """One request; OSError if there was no whole answer, each part of it within `secs`.

        It is sent once: what was cut off may have been done or not.
        """
        connection = self._taken()
        try:
            if connection is None:
                connection = _Connection(self.path, secs)
            answer, is_last = connection.request(method, target, body, headers, secs)
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if is_last:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return answer

    def _taken(self) -> _Connection | None:
        """A connection that the daemon has not closed meanwhile."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_open():
                return connection
            connection.close()


class _Connection:
    def __init__(self, path: Path, secs: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(secs)
            self._socket.connect(str(path))
        except BaseException:
            self._socket.close()
            raise
        self._answers: BufferedReader = self._socket.makefile("rb")

    def is_open(self) -> bool:
        """Whether the other side has neither closed it nor sent what was not asked for."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def request(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str], secs: float
    ) -> tuple[Answer, bool]:
        """The answer, and whether the connection is of no more use."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        self._socket.settimeout(secs)
        # A daemon that refuses what it has not read answers before it closes.
        with suppress(BrokenPipeError):
            self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        status = CONTINUE
        while CONTINUE <= status < SUCCESS:
            status, found = self._head()
        if status == NO_CONTENT:
            return Answer(status, b""), False
        etag = found.get("etag", "")
        is_last = found.get("connection", "").lower() == "close"
        if found.get("transfer-encoding", "").lower() == "chunked":
            content = self._chunks()
        elif "content-length" in found:
            content = self._exactly(_number(found["content-length"], 10))
        else:
            content, is_last = self._answers.read(), True
        return Answer(status, content, etag), is_last

    def _head(self) -> tuple[int, dict[str, str]]:
        version, _, rest = self._line().partition(" ")
        if not version.startswith("HTTP/1."):
            raise ConnectionError(f"no HTTP: {version[:40]!r}")
        found: dict[str, str] = {}
        for _ in range(MOST_LINES):
            if not (line := self._line()):
                return _number(rest[:3], 10), found
            name, _, value = line.partition(":")
            found[name.strip().lower()] = value.strip()
        raise ConnectionError("the answer has too many headers")

    def _chunks(self) -> bytes:
        parts = []
        while size := _number(self._line().partition(";")[0], 16):
            parts.append(self._exactly(size))
            self._line()
        while self._line():
            pass
        return b"".join(parts)

    def _line(self) -> str:
        line = self._answers.readline(LINE_BYTES)
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the connection was closed before the answer's end")
        return line.rstrip(b"\r\n").decode("latin-1")

    def _exactly(self, size: int) -> bytes:
        content = self._answers.read(size)
        if len(content) < size:
            raise ConnectionResetError("the connection was closed before the answer's end")
        return content


def _number(text: str, base: int) -> int:
    try:
        return int(text.strip(), base)
    except ValueError:
        raise ConnectionError(f"no HTTP: {text[:40]!r} is not a number") from None


def _close_all(idle: list[_Connection]) -> None:
    for connection in idle:
        connection.close()
