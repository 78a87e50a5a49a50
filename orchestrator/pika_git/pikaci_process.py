"""Starting `pikaci`: by a warm `pikaci serve`, or as a program of its own where that can't be had.

What is started lives on when this process ends. Its own end is told by `ended`, except for a child
of a server that died: that one's end is seen by its run's lock.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

READ_BYTES = 65536
STOP_SECS = 5.0
"""A server ends as soon as its stdin does; one that doesn't is killed. Its children live on."""
_OURS = re.compile(
    "PH_.*|PIKA_GIT_.*|GIT_(DIR|WORK_TREE|INDEX_FILE|PREFIX|COMMON_DIR|NAMESPACE|QUARANTINE_PATH"
    "|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES)"
)
"""What no lane may have of the forge, and what would point git elsewhere."""


@dataclass(frozen=True)
class Ended:
    """A `pikaci` ended; without exit code it was killed or could not be started: `error`."""

    id: str
    exit_code: int | None = None
    error: str | None = None


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
    _server: subprocess.Popen[bytes] | None = None
    _pending: bytes = b""
    _alone: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _served: dict[str, int | None] = field(default_factory=dict)
    """What the server runs: its pid, once told."""
    _failed: list[Ended] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop()

    @property
    def fileno(self) -> int | None:
        """What tells of ends; None without a server."""
        return self._server.stdout.fileno() if self._server and self._server.stdout else None

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
        env = environment(state_root)
        request: dict[str, Any] = {"id": key, "argv": list(argv), "cwd": "/", "env": env}
        request |= {"stdout": str(stdout) if stdout else None, "stderr": str(stderr)}
        if self._send(json.dumps(request).encode() + b"\n"):
            self._served.setdefault(key, None)
            return
        try:
            self._alone[key] = _start_alone([*self.limits, program(), *argv], env, stdout, stderr)
        except OSError as error:
            self._failed.append(Ended(key, error=f"could not start pikaci: {error.strerror}"))

    def ended(self) -> list[Ended]:
        """What ended since the last call; it never waits."""
        found, self._failed = self._failed, []
        for key, process in list(self._alone.items()):
            if process.poll() is not None:
                del self._alone[key]
                code = process.returncode
                found.append(_ended(key, code if code >= 0 else None, -code))
        return found + self._heard()

    def knows(self, key: str) -> bool:
        """Whether the end of this one will be told."""
        return key in self._alone or key in self._served

    def kill(self, key: str) -> None:
        """Ask a process and what it started to end, if it still runs."""
        process = self._alone.get(key)
        pid = process.pid if process else self._served.get(key)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _heard(self) -> list[Ended]:
        if self._server is None or self._server.stdout is None:
            return []
        try:
            data = os.read(self._server.stdout.fileno(), READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            self._stop()
            return []
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [end for line in lines if (end := self._parse(line)) is not None]

    def _parse(self, line: bytes) -> Ended | None:
        values = json.loads(line)
        key = str(values["id"])
        if "pid" in values:
            self._served[key] = int(values["pid"])
            return None
        self._served.pop(key, None)
        if "error" in values:
            return Ended(key, error=str(values["error"]))
        return _ended(key, values.get("exit_code"), values.get("signal"))

    def _send(self, line: bytes) -> bool:
        for _ in range(2):
            if self._server is None:
                self._start()
            if self._server is None or self._server.stdin is None:
                return False
            try:
                self._server.stdin.write(line)
                self._server.stdin.flush()
            except OSError:
                self._stop()
                continue
            return True
        return False

    def _start(self) -> None:
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        env = environment(self.log.parent)
        with suppress(OSError), self.log.open("ab") as log:
            self._server = subprocess.Popen(
                [*self.limits, program(), "serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                env=env,
                start_new_session=True,
            )
            if self._server.stdout is not None:
                os.set_blocking(self._server.stdout.fileno(), False)

    def _stop(self) -> None:
        server, self._server, self._pending = self._server, None, b""
        self._served.clear()
        if server is None:
            return
        for stream in (server.stdin, server.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        try:
            server.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _ended(key: str, code: int | None, number: int | None) -> Ended:
    return Ended(key, code) if code is not None else Ended(key, error=f"killed by signal {number}")


def _start_alone(
    argv: Sequence[str], env: Mapping[str, str], stdout: Path | None, stderr: Path
) -> subprocess.Popen[bytes]:
    with stderr.open("ab") as errors, (stdout or Path(os.devnull)).open("ab") as out:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            cwd="/",
            env=env,
            start_new_session=True,
        )
