"""A binary cache of Nix that takes uploads, as HTTP servers do: GET, HEAD and PUT of files."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class BinaryCache:
    """A running cache: what it has, and what it was given; `refuse` is the status of each PUT."""

    port: int
    files: dict[str, bytes] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    refuse: int | None = None
    hang: threading.Event | None = None
    """Until it is set, no request is answered."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def binary_cache() -> Iterator[BinaryCache]:
    """A cache on the loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if cache.hang is not None:
                cache.hang.wait()
            data = cache.files.get(self.path)
            self.answer(404 if data is None else 200, data or b"")

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if cache.refuse is None:
                cache.files[self.path] = data
                cache.given.append(self.path)
            self.answer(cache.refuse or 201, b"")

        def answer(self, status: int, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                with suppress(BrokenPipeError):
                    self.wfile.write(data)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        cache = BinaryCache(server.server_port)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield cache
        finally:
            if cache.hang is not None:
                cache.hang.set()
            server.shutdown()
            thread.join()
