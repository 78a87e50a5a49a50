"""Starting `pikaci`: by a warm `pikaci serve`, or as a program of its own where that can't be had.

- What is started lives on when this process ends.
- Each end is told once, by `ended`. Of a child whose server died only the end is known, not how.
- A server that dies is started again. One that does not answer is killed. A request that it had not
  answered is made again: `pikaci run --run-id` refuses an id that exists, so it runs once.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

READ_BYTES = 65536
ANSWER_SECS = 30.0
"""A server says at once that it has forked; a busy machine may need seconds to start it."""
STOP_SECS = 5.0
"""A server ends as soon as its stdin does; one that doesn't is killed. Its children live on."""
RESTART_SECS = 10.0
"""Between two starts of a server; meanwhile `pikaci` is started without one."""
_OURS = re.compile(
    "PH_.*|PIKA_GIT_.*|CREDENTIALS_DIRECTORY|NOTIFY_SOCKET|LISTEN_(FDS|PID|FDNAMES)"
    "|GIT_(DIR|WORK_TREE|INDEX_FILE|PREFIX|COMMON_DIR|NAMESPACE|QUARANTINE_PATH|CONFIG_PARAMETERS"
    "|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES)"
)
"""What no lane may have of the forge, and what would point git elsewhere."""


@dataclass(frozen=True)
class Ended:
    """A `pikaci` ended.

    Without exit code it was killed or could not be started: `error`; or it isn't known how.
    """

    id: str
    exit_code: int | None = None
    error: str | None = None


@dataclass
class _Child:
    """A `pikaci` that was asked for, and its process if it is known to have one."""

    argv: tuple[str, ...]
    env: dict[str, str]
    stdout: Path | None
    stderr: Path
    asked_at: float = 0.0
    pid: int | None = None
    pidfd: int | None = None
    own: subprocess.Popen[bytes] | None = None

    def has_pid(self, pid: int) -> None:
        self.pid = pid
        with suppress(OSError, AttributeError):  # it ended already, or this is no Linux
            self.pidfd = os.pidfd_open(pid)

    def is_gone(self) -> bool:
        """Whether its process has ended; for one that no server tells of."""
        if self.pidfd is not None:
            return bool(select.select([self.pidfd], [], [], 0)[0])
        try:
            os.kill(self.pid or 0, 0)
        except OSError:
            return True
        return self.pid is None

    def close(self) -> None:
        if self.pidfd is not None:
            os.close(self.pidfd)
        self.pidfd = None


def program() -> str:
    """The `pikaci` that belongs to this forge: beside its own program, else on PATH."""
    beside = Path(sys.argv[0]).resolve().with_name("pikaci")
    return str(beside) if beside.is_file() else shutil.which("pikaci") or "pikaci"


def environment(state_root: Path) -> dict[str, str]:
    """The environment of a `pikaci` for a repository: this one's, without what is the forge's."""
    kept = {name: value for name, value in os.environ.items() if not _OURS.fullmatch(name)}
    return kept | {"PIKACI_STATE_ROOT": str(state_root)}


@dataclass
class Pikaci:
    """Starts `pikaci` processes, for one thread."""

    log: Path
    """What the server says of itself."""
    limits: tuple[str, ...] = ()
    """A program that starts all with limits: `prlimit --as=... --`."""
    answer_secs: float = ANSWER_SECS
    _server: subprocess.Popen[bytes] | None = None
    _pending: bytes = b""
    _start_at: float = 0.0
    """When a server may be started next, by the monotonic clock."""
    _served: dict[str, _Child] = field(default_factory=dict)
    _alone: dict[str, _Child] = field(default_factory=dict)
    """Those that no server tells of."""
    _failed: list[Ended] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_error: object) -> None:
        server, self._server = self._server, None
        if server is not None:
            _end(server)
        for child in (*self._served.values(), *self._alone.values()):
            child.close()

    @property
    def filenos(self) -> list[int]:
        """What becomes readable when something ended."""
        found = [child.pidfd for child in self._alone.values() if child.pidfd is not None]
        if self._server is not None and self._server.stdout is not None:
            found.append(self._server.stdout.fileno())
        return found

    def start(
        self,
        key: str,
        argv: Sequence[str],
        state_root: Path,
        *,
        stdout: Path | None = None,
        stderr: Path,
    ) -> None:
        """Start `pikaci ARGV`; its end will be told under `key`."""
        child = _Child(tuple(argv), environment(state_root), stdout, stderr)
        if not self._ask(key, child):
            self._start_alone(key, child)

    def ended(self) -> list[Ended]:
        """What ended since the last call. It waits for nothing but a server that hangs."""
        self._hear()
        late = time.monotonic() - self.answer_secs
        if any(child.pid is None and child.asked_at < late for child in self._served.values()):
            self._lose_server()
        if self._server is None and time.monotonic() >= self._start_at:
            self._start()
        found, self._failed = self._failed, []
        for key, child in list(self._alone.items()):
            code = child.own.poll() if child.own is not None else None
            if code is not None or (child.own is None and child.is_gone()):
                self._alone.pop(key).close()
                found.append(Ended(key) if code is None else _ended(key, code))
        return found

    def knows(self, key: str) -> bool:
        """Whether the end of this one will be told."""
        return key in self._alone or key in self._served

    def kill(self, key: str, number: int = signal.SIGTERM) -> None:
        """Send a signal to the process group of what was started under `key`, if it still runs."""
        child = self._alone.get(key) or self._served.get(key)
        if child is not None and child.pid is not None and not child.is_gone():
            with suppress(OSError):
                os.killpg(child.pid, number)

    def _ask(self, key: str, child: _Child) -> bool:
        """Have the server start it; False if there is none."""
        if self._server is None and time.monotonic() >= self._start_at:
            self._start()
        request: dict[str, Any] = {"id": key, "argv": child.argv, "cwd": "/", "env": child.env}
        request |= {"stdout": str(child.stdout) if child.stdout else None}
        request |= {"stderr": str(child.stderr)}
        if not self._write(json.dumps(request).encode() + b"\n"):
            return False
        child.asked_at = time.monotonic()
        self._served[key] = child
        return True

    def _write(self, data: bytes) -> bool:
        if self._server is None or self._server.stdin is None:
            return False
        stdin = self._server.stdin.fileno()
        until = time.monotonic() + self.answer_secs
        while data:
            _, ready, _ = select.select([], [stdin], [], max(0.0, until - time.monotonic()))
            try:
                data = data[os.write(stdin, data) :] if ready else data
            except OSError:
                ready = []
            if not ready:
                self._lose_server()
                return False
        return True

    def _start_alone(self, key: str, child: _Child) -> None:
        try:
            with (
                child.stderr.open("ab") as errors,
                (child.stdout or Path(os.devnull)).open("ab") as out,
            ):
                child.own = subprocess.Popen(
                    [*self.limits, program(), *child.argv],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=errors,
                    cwd="/",
                    env=child.env,
                    start_new_session=True,
                )
        except OSError as error:
            self._failed.append(Ended(key, error=f"could not start pikaci: {error.strerror}"))
            return
        child.has_pid(child.own.pid)
        self._alone[key] = child

    def _hear(self) -> None:
        while self._server is not None and self._server.stdout is not None:
            try:
                data = os.read(self._server.stdout.fileno(), READ_BYTES)
            except BlockingIOError:
                return
            *lines, self._pending = (self._pending + data).split(b"\n")
            for line in lines:
                self._take(line)
            if not data:
                self._lose_server()

    def _take(self, line: bytes) -> None:
        try:
            values = json.loads(line)
            key, child = values["id"], self._served[values["id"]]
        except (ValueError, KeyError, TypeError):
            return  # no answer to a request; the one that lacks its answer is late soon
        if "pid" in values:
            child.has_pid(int(values["pid"]))
            return
        self._served.pop(key).close()
        if "error" in values:
            self._failed.append(Ended(key, error=str(values["error"])))
        else:
            code = values.get("exit_code")
            self._failed.append(_ended(key, -values["signal"] if code is None else code))

    def _start(self) -> None:
        self._start_at = time.monotonic() + RESTART_SECS
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(OSError), self.log.open("ab") as log:
            self._server = subprocess.Popen(
                [*self.limits, program(), "serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                env=environment(self.log.parent),
                start_new_session=True,
            )
            for stream in (self._server.stdin, self._server.stdout):
                if stream is not None:
                    os.set_blocking(stream.fileno(), False)

    def _lose_server(self) -> None:
        """The server died or hangs: its children live on, and unanswered requests are made again.

        What it wrote before it died has been heard.
        """
        server, self._server, self._pending = self._server, None, b""
        if server is not None:
            server.kill()
            _end(server)
        children, self._served = self._served, {}
        for key, child in children.items():
            if child.pid is not None:
                self._alone[key] = child
            elif not self._ask(key, child):
                self._start_alone(key, child)


def _end(server: subprocess.Popen[bytes]) -> None:
    for stream in (server.stdin, server.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    try:
        server.wait(STOP_SECS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _ended(key: str, code: int) -> Ended:
    return Ended(key, code) if code >= 0 else Ended(key, error=f"killed by signal {-code}")
