"""`pikaci serve`: a process that has everything imported and forks a `pikaci` for each request.

Requests come on stdin, a JSON object a line; answers go to stdout likewise:

    {"id": "7", "argv": ["run", "hello"], "cwd": "/", "env": {...}, "stdout": null, "stderr": "f"}
    {"id": "7", "pid": 4711}
    {"id": "7", "exit_code": 0}          or "signal": 9, or "error": "..."

A child is a `pikaci` of its own: its session, its owner lock, its signals. It knows nothing of this
process, which may end or be killed without it. This process has one thread and no event loop, so
that a fork copies no lock that is held.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, Self

import click

from jerichoci.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

READ_BYTES = 65536
MOST_LINE_BYTES = 8 * 1024 * 1024
"""A request has an environment in it, which the kernel bounds at 6 MiB."""
WARM = (
    "asyncio",
    "jerichoci.run.engine",
    "jerichoci.cleanup.dead_runs",
    "pikaci.commands.run",
    "pikaci.commands.plan",
    "pikaci.commands.catalog",
    "pikaci.commands.records",
    "pikaci.render.feed",
    "pikaci.render.plain",
    "pikaci.source",
    "pikaci.glob",
)
"""What a child would import otherwise."""


@dataclass(frozen=True)
class Request:
    """A command line, and what its process has."""

    id: str
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    stdout: str | None = None
    stderr: str | None = None


@click.command("serve")
def serve_command() -> None:
    """Start a `pikaci` for each request on stdin, without its start-up time.

    For programs; docs/cli.md has the lines.
    """
    for module in WARM:
        import_module(module)
    gc.collect()
    gc.freeze()  # what is imported stays shared with the children
    with _Server() as server:
        server.run()


@dataclass
class _Server:
    """Reads requests and hears of children that ended."""

    _children: dict[int, str] = field(default_factory=dict)
    _pending: bytes = b""

    def __enter__(self) -> Self:
        self._ended, self._told = os.pipe()
        for end in (self._ended, self._told):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_error: object) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._ended)
        os.close(self._told)

    def run(self) -> None:
        """Answer requests until stdin ends."""
        with selectors.DefaultSelector() as selector:
            for end in (0, self._ended):
                selector.register(end, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if self._ended in ready:
                    with suppress(BlockingIOError):
                        os.read(self._ended, READ_BYTES)
                    self._reap()
                if 0 in ready and not self._read(selector):
                    return

    def _read(self, selector: selectors.BaseSelector) -> bool:
        data = os.read(0, READ_BYTES)
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._take(line, selector)
        if len(self._pending) > MOST_LINE_BYTES:
            raise UsageError(
                f"a request is longer than {MOST_LINE_BYTES} bytes", "send a line each"
            )
        return bool(data)

    def _take(self, line: bytes, selector: selectors.BaseSelector) -> None:
        if not line.strip():
            return
        try:
            request = parse_request(line)
        except UsageError as error:
            _answer({"id": _id_of(line), "error": str(error)})
            return
        try:
            streams = list(_streams(request))
        except OSError as error:
            what = f"{error.filename}: {error.strerror}"
            _answer({"id": request.id, "error": what})
            return
        try:
            pid = os.fork()
        except OSError as error:
            _answer({"id": request.id, "error": f"could not fork: {error.strerror}"})
            return
        finally_close = streams
        if pid == 0:
            selector.close()
            os.close(self._ended)
            os.close(self._told)
            _become(request, streams)
        for stream in finally_close:
            os.close(stream)
        self._children[pid] = request.id
        _answer({"id": request.id, "pid": pid})

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (asked := self._children.pop(pid, None)) is not None:
                code = os.waitstatus_to_exitcode(status)
                end = {"exit_code": code} if code >= 0 else {"signal": -code}
                _answer({"id": asked, **end})


def parse_request(line: bytes) -> Request:
    """Read a request.

    Raises:
        UsageError: it is not one.
    """
    try:
        values = json.loads(line)
        request = Request(**values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"not a request: {error}", "docs/cli.md has the form") from None
    checks = (
        isinstance(request.id, str),
        _are_texts(request.argv) and request.argv,
        isinstance(request.cwd, str),
        isinstance(request.env, dict) and _are_texts([*request.env, *request.env.values()]),
        all(isinstance(path, str | None) for path in (request.stdout, request.stderr)),
    )
    if not all(checks):
        raise UsageError("not a request: a value has the wrong type", "docs/cli.md has the form")
    return request


def _are_texts(values: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(values, list | tuple) and all(
        isinstance(value, str) and "\0" not in value for value in values
    )


def _id_of(line: bytes) -> str | None:
    with suppress(ValueError):
        values = json.loads(line)
        found = values.get("id") if isinstance(values, dict) else None
        return found if isinstance(found, str) else None
    return None


def _answer(values: Mapping[str, object]) -> None:
    data = json.dumps(values).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def _streams(request: Request) -> Iterator[int]:
    yield os.open(os.devnull, os.O_RDONLY)
    for path in (request.stdout, request.stderr):
        yield os.open(path or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _become(request: Request, streams: list[int]) -> NoReturn:
    """Be the `pikaci` of a request, in the child."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
            os.close(stream)
        os.environ.clear()
        os.environ.update(request.env)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115 - the process's own
            for number, mode, errors in (
                (0, "r", None),
                (1, "w", None),
                (2, "w", "backslashreplace"),
            )
        )
        os.chdir(request.cwd)
        sys.argv = ["pikaci", *request.argv]
        from pikaci.program import end_to_end

        end_to_end()
    except BaseException as error:  # noqa: BLE001 - a child never becomes a second server
        with suppress(OSError):
            os.write(2, f"pikaci: {error}\n".encode())
    finally:
        os._exit(75)
    raise AssertionError  # os._exit does not return
