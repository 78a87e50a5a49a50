"""A program on a host that has our terminal, or our pipes."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError
from jerichoci.ssh.shell_line import encoded, shell_line
from jerichoci.terminal import on_terminal, raw_terminal, window_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from asyncssh import SSHClientConnection, SSHClientProcess


async def attend(
    connection: SSHClientConnection, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]
) -> int:
    """Run a program with nothing but `env` for its environment; its exit code.

    Raises:
        InfrastructureError: the connection broke.
    """
    import asyncssh

    settings = [f"{name}={value}" for name, value in env.items()]
    line = encoded(shell_line(["env", "-i", *settings, *argv], cwd=cwd))
    terminal: dict[str, Any] = {}
    if on_terminal():
        terminal = {"term_type": env.get("TERM", "dumb"), "term_size": window_size()}
    try:
        process: SSHClientProcess[bytes] = await connection.create_process(
            line, encoding=None, stdin=0, stdout=1, stderr=2, **terminal
        )
        with raw_terminal() if terminal else nullcontext(), _resized(process, bool(terminal)):
            done = await process.wait()
    except (asyncssh.Error, OSError) as error:
        raise InfrastructureError(f"the connection broke: {error}") from error
    if done.exit_signal:
        return 128 + getattr(signal, f"SIG{done.exit_signal[0]}", signal.SIGKILL)
    if done.exit_status is None:
        raise InfrastructureError("the connection broke")
    return done.exit_status


@contextmanager
def _resized(process: SSHClientProcess[bytes], is_terminal: bool) -> Iterator[None]:  # noqa: FBT001 - as above
    """Tell the far terminal when ours changes its size."""
    if not is_terminal:
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, lambda: process.change_terminal_size(*window_size()))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
