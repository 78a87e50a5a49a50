from __future__ import annotations

import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import TYPE_CHECKING, Any

import pytest
import requests

from jerichoci.runtime.incus.rest import session_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

URL = "http+unix://socket/{}"


class Server(ThreadingMixIn, UnixStreamServer):
    """Answers each request with how many connections there were by then."""

    daemon_threads = True
    connections = 0

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.path = path
        self.has_closed = threading.Event()
        """Whether a connection was."""

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as socketserver has it
        super().shutdown_request(request)
        self.has_closed.set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        body = str(self.server.connections).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        # The client is not told that there won't be a next request.
        self.close_connection = self.path.endswith("last")

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "socket") as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.shutdown()
        serving.join()


def test_requests_share_a_connection_until_it_is_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The environment's proxies are for others.
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with closing(session_at(server.path)) as session:
        paths = ("a", "b?c=d", "last")
        assert [session.get(URL.format(path), timeout=5).text for path in paths] == ["1"] * 3
        assert server.has_closed.wait(5)
        assert [session.get(URL.format(path), timeout=5).text for path in "ab"] == ["2"] * 2


def test_a_socket_that_is_not_there_is_a_connection_error(tmp_path: Path) -> None:
    with closing(session_at(tmp_path / "none")) as session, pytest.raises(requests.ConnectionError):
        session.get(URL.format("a"), timeout=5)
