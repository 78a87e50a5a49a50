"""A server that answers what a test tells it to, and the answers of a forge with one branch."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

Json = dict[str, Any]
NOW = 1_000_000.0


class Ph(Protocol):
    """Runs `ph` in this process: exit code, stdout, stderr."""

    def __call__(self, *args: str) -> tuple[int, str, str]: ...


class Serve(Protocol):
    """Serves routes, which `ph` asks meanwhile."""

    def __call__(self, routes: dict[str, Any]) -> AbstractContextManager[FakeForge]: ...


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    token: str | None


@dataclass
class Answer:
    """What is sent; `cut` sends only that many bytes of the body, then ends the connection."""

    body: bytes | Json | list[Any] | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None

    @property
    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


DROPPED = Answer(cut=0)


@dataclass
class FakeForge:
    """Routes by `METHOD path`: answers, functions of what is asked, or a list of answers.

    A list is answered one after the other, its last one from then on.
    """

    routes: dict[str, Any]
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        route = self.routes.get(f"{asked.method} {asked.path}")
        if callable(route):
            route = route(asked)
        if isinstance(route, list) and route and isinstance(route[0], Answer):
            route = route.pop(0) if len(route) > 1 else route[0]
        if route is None:
            return refusal(404, f"there is no {asked.path}")
        return route if isinstance(route, Answer) else Answer(route)

    def posted(self) -> list[tuple[str, Any]]:
        return [(each.path, each.body) for each in self.asked if each.method != "GET"]


def refusal(status: int, message: str, hint: str | None = None) -> Answer:
    return Answer({"error": {"code": "x", "message": message, "hint": hint}}, status)


@contextmanager
def serving(routes: dict[str, Any]) -> Iterator[FakeForge]:
    """Serve on loopback."""
    forge = FakeForge(
        {f"{key.split()[0]} /api/v1/{key.split()[1]}": v for key, v in routes.items()}
    )

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            token = self.headers.get("Authorization")
            query = dict(parse_qsl(parts.query))
            answer = forge.answer(Asked(self.command, parts.path, query, body, token))
            self.close_connection = True
            if answer.cut == 0:
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.data)))
            self.end_headers()
            self.wfile.write(answer.data[: answer.cut])

        do_GET = do_POST = do_DELETE = _reply  # noqa: N815 - http.server's names

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    forge.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield forge
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def lane(name: str = "check", state: str = "success", **values: Any) -> Json:  # noqa: ANN401
    return {
        "id": 7,
        "run_id": 3,
        "name": name,
        "target": name,
        "state": state,
        "why": "src/a matches src/**",
        "sentence": "queued 1.0 s; ran 2.0 s",
        "wait": None,
        "failure_kind": None,
        "cause": None,
        "waits": [],
        "attempts": [],
        "acts": [],
        "problems": [],
        **values,
    }


FAILED = lane(
    state="failed",
    failure_kind="test_failure",
    cause={"phase": "wait", "code": "exit", "message": "exit code 3", "hint": "see its log"},
    sentence="queued 1m 02s, of which 48 s for group linux held by main #2; ran 12 s",
    waits=[
        {
            "code": "blocked_by_concurrency_group",
            "words": "waits for group linux, held by main #2",
            "ends": "that lane ends, or is cancelled",
            "since": NOW - 100,
            "until": NOW - 52,
        },
        {"code": "queued", "words": "is next", "ends": "", "since": NOW - 52, "until": NOW - 38},
    ],
    attempts=[
        {
            "number": 1,
            "pikaci_run_id": "20260131T235959Z-0123abcd",
            "host": "box",
            "state": "failed",
            "started_at": NOW - 38,
            "finished_at": NOW - 26,
            "exit_code": 1,
            "refused": None,
        }
    ],
    acts=[{"who": "ann", "action": "requeue", "why": "try again"}],
)


TESTS = [
    {
        "job": "unit",
        "tests": {
            "total": 650,
            "passed": 647,
            "failed": 2,
            "errors": 1,
            "skipped": 0,
            "reports": [{"path": "a.xml", "format": "junit", "unreadable": "it is cut"}],
            "failures": [
                {"name": "test_sum", "file": "t.py", "line": 7, "message": "assert 1 == 2\nmore"},
                {"name": "test_b", "file": None, "line": None, "message": None},
            ],
        },
    }
]


def run(*lanes: Json, state: str = "success", **line: Any) -> Json:  # noqa: ANN401
    values = {"id": 3, "kind": "branch", "state": state, "summary": "all done", "head": "a" * 40}
    return {"now": NOW, "repo": "demo", "line": {**values, **line}, "lanes": list(lanes)}


def branch_routes(found: Json | None, path: str = "/srv/demo.git") -> dict[str, Any]:
    """The routes of a forge with the repository demo and its branch feature."""
    line = {"id": 5, "repo": "demo", "ref": "refs/heads/feature", "name": "feature"}
    line |= {"state": "open", "head": "a" * 40}
    routes: dict[str, Any] = {
        "GET repos": {"repos": [{"id": 1, "name": "demo", "path": path}]},
        "GET branches": {"branches": [line]},
        "GET branches/5": {"now": NOW, "line": line, "run": found, "runs": []},
    }
    if found:
        routes["GET runs/3"] = found
        for each in found["lanes"]:
            routes[f"GET lanes/{each['id']}"] = {"run": found, "lane": each, "tests": TESTS}
    return routes


def following(log: bytes, *, chunk: int, drop: Callable[[int], bool]) -> Callable[[Asked], Answer]:
    """A log that is read in chunks; some of the answers are cut in the middle."""
    count = 0

    def answer(asked: Asked) -> Answer:
        nonlocal count
        count += 1
        offset = int(asked.query["offset"])
        data = log[offset : offset + chunk]
        headers = {"X-Next-Offset": str(offset + len(data)), "X-Over": "false" if data else "true"}
        return Answer(data, 200, headers, cut=len(data) // 2 or 0 if drop(count) else None)

    return answer
