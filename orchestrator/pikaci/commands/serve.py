"""`pikaci serve`: a process that has everything imported and forks a `pikaci` for each request.

Requests come on stdin, a JSON object a line; answers go to stdout likewise:

    {"id": "7", "argv": ["run", "hello"], "cwd": "/", "env": {...}, "stdout": null, "stderr": "/f"}
    {"id": "7", "pid": 4711}
    {"id": "7", "exit_code": 0}          or "signal": 9, or "error": "..."

A child is a `pikaci` of its own: its session, its owner lock, its signals, and no descriptor of
this process. It knows nothing of it: this process may end or be killed without the child. It has
one thread and no event loop, so that a fork copies no lock that is held.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import sys
import time
from contextlib import suppress
from dataclasses import field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

import click

from jerichoci.exit_codes import EXIT_INFRASTRUCTURE
from jerichoci.state.dataclass import dataclass
from pikaci.request import Request, RequestError, open_streams, parse_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

READ_BYTES = 65536
MOST_LINE_BYTES = 8 * 1024 * 1024
"""A request has an environment in it, which the kernel bounds at 6 MiB."""
WARM = (
    *("asyncio", "concurrent.futures.thread", "ctypes", "encodings.ascii", "tomllib"),
    *("jerichoci.run.engine", "jerichoci.cleanup.dead_runs", "jerichoci.cleanup.gc"),
    *("jerichoci.machine.artifacts", "jerichoci.record.store", "jerichoci.record.cancel"),
    *("jerichoci.state.annotations", "jerichoci.plan.known", "jerichoci.plan.validation"),
    *("jerichoci.test_reports.reading", "jerichoci.test_reports.junit"),
    *(f"jerichoci.test_reports.{name}" for name in ("tap", "go", "cargo")),
    *("pikaci.commands.run", "pikaci.commands.rerun", "pikaci.commands.plan"),
    *("pikaci.commands.catalog", "pikaci.commands.records", "pikaci.commands.cleanup"),
    *(
        "pikaci.commit",
        "pikaci.changes",
        "pikaci.lane_choice",
        "pikaci.nix_eval",
        "pikaci.estimate",
        "pikaci.plan_set",
        "pikaci.source",
        "jerichoci.machine.glob",
    ),
    *("pikaci.render.reporters", "pikaci.render.plain"),
)
"""What a child would import otherwise."""
_PYTHONS_OWN = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""Python ignores these itself, and gives them back to its children."""


@click.command("serve")
def serve_command() -> None:
    """Start a `pikaci` for each request on stdin, without its start-up time.

    For programs; docs/cli.md has the lines.
    """
    warm_up()
    gc.collect()
    gc.freeze()  # what is imported stays shared with the children
    with _Server() as server:
        server.run()


def warm_up() -> None:
    """Import what a child would import, and have pydantic know what it reads."""
    for module in WARM:
        import_module(module)
    from jerichoci.plan.plan import Plan
    from jerichoci.plan.validation import adapter
    from jerichoci.record.record import JobRecord, PreparedOutputs, RunRecord
    from pikaci.plan_set import PlanSource

    for model in (Plan, PlanSource, RunRecord, JobRecord, PreparedOutputs):
        adapter(model)


@dataclass
class _Server:
    """Reads requests and hears of children that ended."""

    _children: dict[int, str] = field(default_factory=dict)
    _pending: bytes = b""
    _is_too_long: bool = False
    """Whether what comes until the next line end is the rest of a line that was refused."""

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
        with selectors.PollSelector() as selector:  # stdin may be a file
            for end in (0, self._ended):
                selector.register(end, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if self._ended in ready:
                    with suppress(BlockingIOError):
                        os.read(self._ended, READ_BYTES)
                    self._reap()
                if 0 in ready and not self._read():
                    break
        if self._pending:
            _answer({"id": None, "error": "the last line has no end"})
        self._reap()

    def _read(self) -> bool:
        try:
            data = os.read(0, READ_BYTES)
        except BlockingIOError:
            return True
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            if not self._is_too_long:
                self._take(line)
            self._is_too_long = False
        if self._is_too_long:
            self._pending = b""
        elif len(self._pending) > MOST_LINE_BYTES:
            self._is_too_long, self._pending = True, b""
            _answer({"id": None, "error": f"a line has more than {MOST_LINE_BYTES} bytes"})
        return bool(data)

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            request = parse_request(line)
        except RequestError as error:
            _answer({"id": error.id, "error": str(error)})
            return
        try:
            streams = open_streams(request)
        except OSError as error:
            what = f"{error.filename}: {error.strerror}"
            _answer({"id": request.id, "error": what})
            return
        # A signal for a child waits until it has its own handlers.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            if (pid := os.fork()) == 0:
                _become(request, streams)
        except OSError as error:
            _answer({"id": request.id, "error": f"could not fork: {error.strerror}"})
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for stream in streams:
                os.close(stream)
        self._children[pid] = request.id
        _answer({"id": request.id, "pid": pid})

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            end = {"exit_code": code} if code >= 0 else {"signal": -code}
            _answer({"id": self._children.pop(pid), **end})


def _answer(values: Mapping[str, object]) -> None:
    data = json.dumps(values).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def _become(request: Request, streams: Sequence[int]) -> NoReturn:
    """Be the `pikaci` of a request, in the child."""
    try:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - _PYTHONS_OWN:
            if signal.getsignal(number) not in {signal.SIG_DFL, None}:
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
        for descriptor in [int(path.name) for path in Path("/dev/fd").iterdir()]:
            if descriptor > 2:  # noqa: PLR2004 - stderr
                with suppress(OSError):
                    os.close(descriptor)
        os.environ.clear()
        os.environ.update(request.env)
        time.tzset()
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
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        from pikaci.program import end_to_end

        end_to_end()
    except BaseException as error:  # noqa: BLE001 - a child never becomes a second server
        what = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else repr(error)
        with suppress(OSError):
            os.write(2, f"pikaci: {what}\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(EXIT_INFRASTRUCTURE)
    raise AssertionError  # os._exit does not return
