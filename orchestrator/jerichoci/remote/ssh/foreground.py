"""A program on a host that has our terminal, or our pipes."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError
from jerichoci.machine.terminal import (
    CHUNK_BYTES,
    on_terminal,
    raw_terminal,
    read_stdin,
    window_size,
)
from jerichoci.remote.ssh.channel import opened
from jerichoci.remote.ssh.shell_line import encoded, shell_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from asyncssh import SSHClientConnection, SSHClientProcess, SSHReader


async def run_in_foreground(
    connection: SSHClientConnection, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]
) -> int:
    """Run a program with nothing but `env` for its environment; its exit code."""
    import asyncssh

    settings = [f"{name}={value}" for name, value in env.items()]
    line = encoded(shell_line(["env", "-i", *settings, *argv], cwd=cwd))
    terminal: dict[str, Any] = {}
    if on_terminal():
        kind = env.get("TERM", "dumb")
        terminal = {"request_pty": "force", "term_type": kind, "term_size": window_size()}
    try:
        process: SSHClientProcess[bytes] = await opened(
            connection.create_process(line, encoding=None, **terminal)
        )
        with _our_terminal(process):
            _feed(process)
            await asyncio.gather(_copy(process.stdout, 1), _copy(process.stderr, 2))
            done = await process.wait()
    except (asyncssh.Error, OSError) as error:
        raise InfrastructureError(f"the connection broke: {error}") from error
    if done.exit_signal:
        return 128 + getattr(signal, f"SIG{done.exit_signal[0]}", signal.SIGKILL)
    if done.exit_status is None:
        raise InfrastructureError("the connection broke before the program ended")
    return done.exit_status


def _feed(process: SSHClientProcess[bytes]) -> None:
    """Pass on our stdin from a thread, which is not waited for: a read may take for ever."""
    loop = asyncio.get_running_loop()

    def write(data: bytes) -> None:
        with suppress(OSError):
            if data:
                process.stdin.write(data)
            else:
                process.stdin.write_eof()

    def feed() -> None:
        data = b"-"
        with suppress(RuntimeError):  # the loop is closed
            while data:
                data = read_stdin()
                loop.call_soon_threadsafe(write, data)

    threading.Thread(target=feed, daemon=True, name="stdin").start()


async def _copy(source: SSHReader[bytes], fd: int) -> None:
    while data := await source.read(CHUNK_BYTES):
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


@contextmanager
def _our_terminal(process: SSHClientProcess[bytes]) -> Iterator[None]:
    """Have the program's terminal be as ours is, if there is one, and of its size."""
    if not on_terminal():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, lambda: process.change_terminal_size(*window_size()))
    try:
        with raw_terminal():
            yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
