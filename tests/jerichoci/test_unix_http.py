from __future__ import annotations

import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import TYPE_CHECKING, Any

import pytest

from jerichoci.runtime.incus.unix_http import Answer, Connections

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTS = [b"one ", b"two ", b"three"]


class Server(ThreadingMixIn, UnixStreamServer):
    """Answers each request with how many connections there were by then, or as its path says."""

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
        match self.path:
            case "/chunks":
                chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in PARTS)
                self._answer(chunks + b"0\r\n\r\n", "Transfer-Encoding: chunked")
            case "/to-the-end":
                self._answer(b"".join(PARTS), "X-None: 1")
                self.close_connection = True
            case "/cut":
                self._answer(b"half", "Content-Length: 8")
                self.close_connection = True
            case "/no-http":
                self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
                self.close_connection = True
            case _:
                body = str(self.server.connections).encode()
                self._answer(body, f"Content-Length: {len(body)}")
                # The client is not told that there won't be a next request.
                self.close_connection = self.path.endswith("last")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._answer(body.upper(), f"Content-Length: {len(body)}")

    def _answer(self, body: bytes, header: str) -> None:
        self.wfile.write(f"HTTP/1.1 200 OK\r\n{header}\r\n\r\n".encode() + body)

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


@pytest.fixture
def connections(server: Server) -> Iterator[Connections]:
    with closing(Connections(server.path)) as connections:
        yield connections


def get(connections: Connections, target: str) -> Answer:
    return connections.request("GET", target, b"", {}, secs=5)


def test_requests_share_a_connection_until_it_is_closed(
    server: Server, connections: Connections
) -> None:
    assert [get(connections, path).text for path in ("/a", "/b?c=d", "/last")] == ["1"] * 3
    assert server.has_closed.wait(5)
    assert [get(connections, path).text for path in ("/a", "/b")] == ["2"] * 2


def test_an_answer_may_come_in_chunks_or_end_with_its_connection(connections: Connections) -> None:
    for path in ("/chunks", "/to-the-end", "/chunks"):
        assert get(connections, path).content == b"".join(PARTS)


def test_a_body_is_sent_and_an_interim_answer_passed_over(connections: Connections) -> None:
    body = b"a" * 300_000
    assert connections.request("POST", "/", body, {}, secs=5).content == body.upper()
    assert connections.request("POST", "/", b"", {}, secs=5).content == b""


def test_an_answer_that_is_cut_off_or_no_http_is_a_connection_error(
    connections: Connections,
) -> None:
    for path in ("/cut", "/no-http"):
        with pytest.raises(ConnectionError):
            get(connections, path)
    assert get(connections, "/a").status == 200


def test_a_socket_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        get(Connections(tmp_path / "none"), "/a")
