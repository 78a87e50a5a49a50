"""`tart exec`: this side of the connection to a guest agent."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import termios
import threading
import time
import tty
from typing import TYPE_CHECKING, Any

from tart import frames
from tart.failure import Failure, not_running
from tart.home import CONTROL_SOCKET, VM

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 16
POLL_SECS = 0.02
STDIN, STDOUT = 0, 1


def execute(vm: VM, request: dict[str, Any], connect_secs: float) -> int:
    """Run a command in a VM; its exit code."""
    if not vm.runner():
        raise not_running(vm.name)
    # A socket's path may have no more than a hundred bytes or so.
    os.chdir(vm.path)
    with contextlib.ExitStack() as stack:
        if request["tty"]:
            stack.enter_context(_raw())
            request = {**request, "size": _size()}
        connection = stack.enter_context(_connected(connect_secs))
        sending = threading.Lock()

        def send(kind: bytes, data: bytes = b"") -> None:
            with sending, contextlib.suppress(OSError):
                frames.send(connection, kind, data)

        send(frames.REQUEST, json.dumps(request).encode())
        if request["interactive"]:
            threading.Thread(target=_read, args=(send,), daemon=True).start()
        return _relay(connection)


def order(vm: VM, what: str, connect_secs: float) -> None:
    """Have something happen within a VM."""
    os.chdir(vm.path)
    with _connected(connect_secs) as connection, contextlib.suppress(EOFError):
        frames.send(connection, frames.ORDER, what.encode())
        frames.receive(connection)


def _connected(secs: float) -> socket.socket:
    """A connection to the agent, as soon as it answers."""
    deadline = time.monotonic() + secs
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(CONTROL_SOCKET)
            frames.receive(connection)
        except (OSError, EOFError) as error:
            connection.close()
            if time.monotonic() > deadline:
                message = "Failed to connect to the VM using its control socket"
                raise Failure(f"{message}: {error!r}, is the Tart Guest Agent running?") from error
            time.sleep(POLL_SECS)
        else:
            return connection


def _relay(connection: socket.socket) -> int:
    outputs = {frames.STDOUT: 1, frames.STDERR: 2}
    while True:
        try:
            kind, data = frames.receive(connection)
        except EOFError:
            raise Failure("Error: unavailable (14): Transport became inactive") from None
        if kind == frames.EXIT:
            return int(data) & 0xFF
        if kind == frames.ERROR:
            raise Failure(f"Error: unknown (2): {data.decode()}")
        try:
            while data:
                data = data[os.write(outputs[kind], data) :]
        except BrokenPipeError:
            raise Failure("Error: Broken pipe") from None


def _read(send: Any) -> None:  # noqa: ANN401
    with contextlib.suppress(OSError):
        while data := os.read(STDIN, CHUNK):
            send(frames.STDIN, data)
    send(frames.STDIN)


def _size() -> list[int]:
    try:
        rows, columns, *_ = struct.unpack(
            "HHHH", fcntl.ioctl(STDOUT, termios.TIOCGWINSZ, b"\0" * 8)
        )
    except OSError:
        # `try!` it says there.
        os.kill(os.getpid(), signal.SIGTRAP)
        raise
    return [rows, columns]


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """The terminal that stdin is, if it is one, passes everything on."""
    try:
        before = termios.tcgetattr(STDIN)
    except termios.error:
        yield
        return
    tty.setraw(STDIN, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(STDIN, termios.TCSANOW, before)
