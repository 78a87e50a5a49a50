"""The guest agent's side of `tart exec`: a process of the VM for each connection."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import struct
import termios
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from tart import frames
from tart.guest_files import ADMIN, ADMINS, STAFF

if TYPE_CHECKING:
    import socket

PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
ENVIRONMENT = {
    "HOME": "/Users/admin",
    "LOGNAME": "admin",
    "PATH": PATH,
    "SHELL": "/bin/zsh",
    "TMPDIR": "/var/tmp/",  # noqa: S108 - the guest's own
    "USER": "admin",
}
END_OF_FILE = b"\x04"
CRASH, LOSE_AGENT = signal.SIGUSR1, signal.SIGUSR2
ORDERS = {b"crash": CRASH, b"lose_agent": LOSE_AGENT}


class Stream:
    """A command that a client asked for, until it has ended."""

    def __init__(self, connection: socket.socket, life: int) -> None:
        self._connection = connection
        self._life = life
        self._pid = 0
        self._terminal: int | None = None
        self._stdin: int | None = None

    def serve(self) -> None:
        """Do all that one connection asks; `life` is readable when the agent ends."""
        with contextlib.suppress(EOFError, OSError):
            frames.send(self._connection, frames.READY)
            kind, data = frames.receive(self._connection)
            if kind == frames.ORDER:
                os.kill(1, ORDERS[data])
                return
            os.setgroups([STAFF, ADMINS])
            os.setresgid(STAFF, STAFF, STAFF)
            os.setresuid(ADMIN, ADMIN, ADMIN)
            os.chdir("/")
            self._execute(json.loads(data))

    def _execute(self, request: dict[str, Any]) -> None:
        try:
            outputs = self._start(request)
        except OSError as error:
            message = f'exec: "{request["argv"][0]}": {os.strerror(error.errno or 0)}'
            frames.send(self._connection, frames.ERROR, message.encode())
            return
        threading.Thread(target=self._attend_client, daemon=True).start()
        with contextlib.suppress(OSError):
            self._relay(outputs)
        _, status = os.waitpid(self._pid, 0)
        # A signal is no exit code: -1 it is then.
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        frames.send(self._connection, frames.EXIT, str(code).encode())

    def _start(self, request: dict[str, Any]) -> dict[int, bytes]:
        argv = request["argv"]
        program = _found(argv[0])
        if request["tty"]:
            self._terminal, inner = os.openpty()
            window = struct.pack("HHHH", *request["size"], 0, 0)
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, window)
            self._stdin = self._terminal
            theirs, outputs = (inner, inner, inner), {self._terminal: frames.STDOUT}
            self._pid = _spawn(program, argv, theirs, terminal=True)
            os.close(inner)
            return outputs
        given = os.open(os.devnull, os.O_RDONLY)
        if request["interactive"]:
            os.close(given)
            given, self._stdin = os.pipe()
        (stdout, out), (stderr, err) = os.pipe(), os.pipe()
        self._pid = _spawn(program, argv, (given, out, err), terminal=False)
        for descriptor in (given, out, err):
            os.close(descriptor)
        return {stdout: frames.STDOUT, stderr: frames.STDERR}

    def _relay(self, outputs: dict[int, bytes]) -> None:
        while outputs:
            ready, _, _ = select.select([self._life, *outputs], [], [])
            if self._life in ready:
                # The agent has ended; what it started hasn't.
                os._exit(1)
            for descriptor in ready:
                try:
                    data = os.read(descriptor, frames.CHUNK)
                except OSError:
                    # What a terminal that no process has open any more gives.
                    data = b""
                if data:
                    frames.send(self._connection, outputs[descriptor], data)
                else:
                    del outputs[descriptor]

    def _attend_client(self) -> None:
        try:
            while True:
                kind, data = frames.receive(self._connection)
                if kind == frames.STDIN:
                    self._write(data)
        except EOFError:
            # Not its children, and nothing that has become root.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._pid, signal.SIGKILL)

    def _write(self, data: bytes) -> None:
        if self._stdin is None:
            return
        if not data and self._terminal is None:
            os.close(self._stdin)
            self._stdin = None
            return
        with contextlib.suppress(OSError):
            rest = data or END_OF_FILE
            while rest:
                rest = rest[os.write(self._stdin, rest) :]


def _found(name: str) -> str:
    if "/" in name:
        return name
    for directory in PATH.split(":"):
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(2, "executable file not found in $PATH")


def _spawn(program: str, argv: list[str], streams: tuple[int, int, int], *, terminal: bool) -> int:
    """Start a command; OSError if it can't be executed."""
    told, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(program, argv, streams, tells, terminal=terminal)
    os.close(tells)
    with os.fdopen(told, "rb") as file:
        failed = file.read()
    if failed:
        os.waitpid(pid, 0)
        raise OSError(int(failed), "")
    return pid


def _become(
    program: str, argv: list[str], streams: tuple[int, int, int], tells: int, *, terminal: bool
) -> NoReturn:
    try:
        if terminal:
            os.setsid()
            fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with contextlib.suppress(OSError):
                signal.signal(each, signal.SIG_DFL)
        os.execve(program, argv, ENVIRONMENT)  # noqa: S606 - as it is asked
    except OSError as error:
        os.write(tells, str(error.errno).encode())
    finally:
        os._exit(127)
