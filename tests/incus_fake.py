"""What Incus's API looks like to a client: a server on a unix socket that notes what it is asked.

There are no guests behind it. A runner that is started there leaves in its /artifacts at once what
the test says; it may also be told to fail, to hang up, and to forget.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import threading
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNNER = "/run/current-system/sw/bin/pikaci-incus-run"
CONTAINER: Final = "container"
MACHINE: Final = "virtual-machine"
FINGERPRINTS = {CONTAINER: "c0" * 32, MACHINE: "e1" * 32}
ALIASES = {CONTAINER: "pikaci/dev", MACHINE: "pikaci/vm"}
SUCCESS, FAILURE = 200, 400

HAND_OVERS = int(os.geteuid() != 0)
"""Commands in a guest beside its job: what it left is handed over to a user who isn't root."""


@dataclass(frozen=True)
class Asked:
    """A request; its path begins after /1.0/."""

    method: str
    path: str
    query: dict[str, str]
    body: Any

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Said:
    """How an exec ends: with an exit code, or as an operation that fails, or it is refused."""

    code: int = 0
    stderr: str = ""
    error: str = ""
    refused: bool = False


@dataclass
class Fault:
    """What goes wrong with requests like this one.

    refuse: an error is the answer. fail: the operation fails. half: likewise, with an instance that
    was created and not started. drop: nothing happens, and the connection closes. cut: it happens,
    and the connection closes within the answer. forget: it happens, and its operation isn't known
    afterwards.
    """

    line: str
    """A regular expression of method and path."""
    kind: Literal["refuse", "fail", "half", "drop", "cut", "forget"]
    error: str = "it was told to fail"
    status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    times: int = 1
    skip: int = 0
    """So many requests before go well."""


class Refused(Exception):  # noqa: N818 - an answer
    """An answer with an error."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


@dataclass(frozen=True)
class Started:
    """A job's runner as it begins: what it has as /artifacts, and its variables."""

    artifacts: Path
    env: dict[str, str]

    def leave(self, name: str, data: str | bytes) -> None:
        path = self.artifacts / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    def end(self, status: str = "passed", **values: object) -> None:
        """Write the result."""
        self.leave("result.json", json.dumps({"status": status, "exit_code": 0, **values}))


def pass_at_once(started: Started) -> None:
    """A job that prints a line, leaves a file and passes."""
    started.leave("guest.log", "from the guest\n")
    started.leave("events.jsonl", '{"event":"runner_started"}\n')
    started.leave("files/report", "report\n")
    started.end()


@dataclass
class FakeIncus:
    """An Incus without guests."""

    socket: Path
    drivers: str = "lxc | qemu"
    auth: str = "trusted"
    member: str | None = None
    """Its name in its cluster."""
    projects: set[str] = field(default_factory=lambda: {"pikaci"})
    profile: dict[str, dict[str, str]] | None = field(
        default_factory=lambda: {
            "root": {"type": "disk", "path": "/", "pool": "fast"},
            "eth0": {"type": "nic", "network": "incusbr0"},
        }
    )
    pools: dict[str, str] = field(default_factory=lambda: {"fast": "btrfs"})
    networks: set[str] = field(default_factory=lambda: {"br0"})
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """Kinds and states."""
    images: dict[str, str] = field(
        default_factory=lambda: {ALIASES[kind]: kind for kind in ALIASES}
    )
    """Instance types by alias."""
    unpacked: set[str] = field(default_factory=lambda: set(FINGERPRINTS.values()))
    script: list[Said] = field(default_factory=list)
    """How the next execs of the runner end; those after them end well."""
    faults: list[Fault] = field(default_factory=list)
    job: Callable[[Started], None] = pass_at_once
    instances: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    started: list[Started] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    """Its own, which a client takes for a connection that broke."""
    _operations: dict[str, dict[str, Any]] = field(default_factory=dict)
    _outputs: dict[str, bytes] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def requests(self, line: str) -> list[Asked]:
        """What was asked whose method and path match a regular expression."""
        return [asked for asked in self.asked if re.fullmatch(line, asked.line)]

    @property
    def created(self) -> list[dict[str, Any]]:
        """The bodies of the requests for an instance."""
        return [asked.body for asked in self.requests("POST instances")]

    @property
    def executed(self) -> list[list[str]]:
        """The arguments of each exec of the runner."""
        found = [asked.body["command"] for asked in self.requests("POST instances/.*/exec")]
        assert {argv[0] for argv in found} <= {RUNNER}
        return [argv[1:] for argv in found]

    def fault(self, asked: Asked) -> Fault | None:
        """What goes wrong with a request."""
        with self._lock:
            for fault in self.faults:
                if fault.times and re.fullmatch(fault.line, asked.line):
                    if fault.skip:
                        fault.skip -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None

    def answer(self, asked: Asked, fault: Fault | None) -> tuple[int, dict[str, Any] | bytes]:
        """Do what is asked for."""
        if fault and fault.kind == "refuse":
            raise Refused(fault.status, fault.error)
        with self._lock:
            done = self._fail(asked, fault) if fault else self._do(asked)
            if isinstance(done, _Operation | str):
                return HTTPStatus.ACCEPTED, self._begun(done, fault)
            if isinstance(done, bytes):
                return HTTPStatus.OK, done
            return HTTPStatus.OK, {"type": "sync", "status_code": SUCCESS, "metadata": done}

    def _fail(self, asked: Asked, fault: Fault) -> Any:  # noqa: ANN401 - JSON
        if fault.kind == "half":
            self._create({**asked.body, "start": False})
        return fault.error if fault.kind in {"fail", "half"} else self._do(asked)

    def _begun(self, done: _Operation | str, fault: Fault | None) -> dict[str, Any]:
        name = f"operation-{next(self._numbers)}"
        ended = {"id": name, "description": "Doing it", "status_code": SUCCESS, "err": ""}
        if isinstance(done, str):
            ended |= {"status_code": FAILURE, "err": done}
        else:
            ended["metadata"] = done.metadata
        if fault is None or fault.kind != "forget":
            self._operations[name] = ended
        url = f"/1.0/operations/{name}{'?project=pikaci' if self.member else ''}"
        return {"type": "async", "operation": url, "metadata": {"id": name}}

    def _do(self, asked: Asked) -> Any:  # noqa: ANN401 - JSON
        kind, _, name = asked.path.partition("/")
        if (
            kind not in {"", "projects", "warnings"}
            and asked.query.get("project") not in self.projects
        ):
            raise Refused(HTTPStatus.NOT_FOUND, "Project not found")
        if kind == "instances":
            return self._do_with_instance(asked)
        if asked.method != "GET":
            raise Refused(HTTPStatus.NOT_FOUND, "Not Found")
        if kind == "images":
            return self._image(name)
        pool, _, fingerprint = name.partition("/volumes/image/")
        known: dict[str, dict[str, Any]] = {
            "": {"": self._server()},
            "warnings": {
                "": [{"type": kind, "status": word} for kind, word in self.warnings]
                if not asked.query.get("project")
                else []
            },
            "operations": {f"{key}/wait": row for key, row in self._operations.items()},
            "projects": {key: {} for key in self.projects},
            "profiles": {"default": {"devices": self.profile}} if self.profile else {},
            "storage-pools": {key: {"driver": driver} for key, driver in self.pools.items()}
            | ({name: {}} if fingerprint in self.unpacked and pool in self.pools else {}),
            "networks": {key: {} for key in self.networks}
            | {"": [{"name": key, "type": "bridge", "managed": False} for key in self.networks]},
        }
        return _found(known[kind], name)

    def _server(self) -> dict[str, Any]:
        environment: dict[str, Any] = {"driver": self.drivers, "server_version": "6.0.4"}
        if self.member:
            environment |= {"server_name": self.member, "server_clustered": True}
        return {"api_extensions": ["projects"], "auth": self.auth, "environment": environment}

    def _image(self, name: str) -> Any:  # noqa: ANN401 - JSON
        if not name:
            rows = [self._image(digest) for digest in FINGERPRINTS.values()]
            for row in rows:
                named = [alias for alias, kind in self.images.items() if kind == row["type"]]
                row["aliases"] = [{"name": alias} for alias in named]
            return rows
        if name.startswith("aliases/"):
            alias = name.removeprefix("aliases/")
            return {"name": alias, "target": FINGERPRINTS[_found(self.images, alias)]}
        kind = {digest: kind for kind, digest in FINGERPRINTS.items()}[name]
        return {"fingerprint": FINGERPRINTS[kind], "type": kind, "aliases": [], "properties": {}}

    def _do_with_instance(self, asked: Asked) -> Any:  # noqa: ANN401 - JSON
        _, *rest = asked.path.split("/")
        match [asked.method, *rest]:
            case ["GET"]:
                return list(self.instances.values())
            case ["POST"]:
                return self._create(asked.body)
            case ["GET", _, "logs", "exec-output", file]:
                return _found(self._outputs, file)
        row = _found(self.instances, rest[0])
        match [asked.method, *rest[1:]]:
            case ["PATCH"]:
                config = row["config"] | asked.body.get("config", {})
                row |= {**asked.body, "config": config}
            case ["DELETE"]:
                del self.instances[rest[0]]
                row = _Operation({})
            case ["PUT", "state"]:
                row = self._change(row, asked.body["action"])
            case ["POST", "exec"]:
                row = self._execute(row, asked.body)
        return row

    def _create(self, body: dict[str, Any]) -> _Operation:
        if body["name"] in self.instances:
            raise Refused(HTTPStatus.CONFLICT, f'Instance "{body["name"]}" already exists')
        self.instances[body["name"]] = {**body, "status": "Running" if body["start"] else "Stopped"}
        return _Operation({})

    def _change(self, row: dict[str, Any], action: str) -> _Operation:
        row["status"] = {"start": "Running", "stop": "Stopped"}[action]
        if action == "stop" and row["ephemeral"]:
            del self.instances[row["name"]]
        return _Operation({})

    def _execute(self, row: dict[str, Any], body: dict[str, Any]) -> _Operation | str:
        is_handing_over = "--hand-over" in body["command"]
        said = self.script.pop(0) if self.script and not is_handing_over else Said()
        if said.refused:
            raise Refused(HTTPStatus.BAD_REQUEST, said.error)
        if said.error:
            return said.error
        if body["command"] == [RUNNER] and said.code == 0:
            self._start(row, body["environment"])
        name = f"exec_{next(self._numbers)}.stderr"
        self._outputs[name] = said.stderr.encode()
        output = {"2": f"/1.0/instances/{row['name']}/logs/exec-output/{name}"}
        return _Operation({"return": said.code, "output": output})

    def _start(self, row: dict[str, Any], env: dict[str, str]) -> None:
        """Start a runner, unless there is one."""
        (artifacts,) = (
            device["source"]
            for device in row["devices"].values()
            if device.get("path") == "/artifacts"
        )
        started = Started(Path(artifacts), env)
        if started.artifacts not in [other.artifacts for other in self.started]:
            self.started.append(started)
            self.job(started)


@dataclass(frozen=True)
class _Operation:
    """What ended well, and its values."""

    metadata: dict[str, Any]


def _found(things: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON
    if name not in things:
        raise Refused(HTTPStatus.NOT_FOUND, "Not Found")
    return things[name]


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, fake: FakeIncus) -> None:
        super().__init__(str(fake.socket), _Handler)
        self.fake = fake

    def handle_error(self, *_: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            self.fake.mistakes.append(traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path = unquote(url.path.removeprefix("/1.0").strip("/"))
        asked = Asked(self.command, path, dict(parse_qsl(url.query)), body)
        fake = self.server.fake
        fault = fake.fault(asked)
        fake.asked.append(asked)
        if fault and fault.kind == "drop":
            self.close_connection = True
            return
        try:
            status, answer = fake.answer(asked, fault)
        except Refused as error:
            status = error.status
            answer = {"type": "error", "error": str(error), "error_code": status}
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if fault and fault.kind == "cut":
            self.close_connection = True
            data = data[: len(data) // 2]
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - as http.server has them

    def log_message(self, *_: object) -> None:
        """Say nothing: what was asked is noted."""


@contextmanager
def fake_incus(socket: Path) -> Iterator[FakeIncus]:
    """Serve at a socket."""
    with _Server(FakeIncus(socket)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.fake
        finally:
            server.shutdown()
            thread.join()
