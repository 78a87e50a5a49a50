"""A command that is the way to a host: `ProxyCommand`, run as ssh runs it.

asyncssh's own takes the end of the command's stderr for that of the connection: ssh closes it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine.process import child, signal_group

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from _typeshed import ReadableBuffer

KEPT_BYTES = 4096
"""Of the end of its stderr."""
END_SECS = 2.0
"""For a command to end by itself, and to say why."""


class ProxyCommand:
    """A running command, with a socket as its stdin and stdout; it ends with the connection."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.exit_code: int | None = None
        """Of a command that ended by itself; below zero after a signal."""
        self._stderr = b""
        self._closed = asyncio.Event()
        near, self._far = socket.socketpair()
        self.socket = _Near(fileno=near.detach())
        self._life = asyncio.create_task(self._live())

    @property
    def stderr(self) -> str:
        """The end of its stderr, on one line."""
        lines = self._stderr.decode("utf-8", "replace").splitlines()
        return "; ".join(line.strip() for line in lines if line.strip())

    def close(self) -> None:
        """Have it end; the user of its socket closes that."""
        self._closed.set()

    async def wait_closed(self) -> None:
        """Wait until it has ended."""
        await asyncio.shield(self._life)

    async def _live(self) -> None:
        argv = [os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {self.line}"]
        try:
            async with child(argv, stdin=self._far.fileno(), stdout=self._far.fileno()) as process:
                self._far.close()
                listening = asyncio.create_task(self._listen(process.stderr))
                await self._closed.wait()
                # It sees the end of its stdin, and may print something yet.
                await self._await_end(process, listening)
                self.exit_code = process.returncode
                if self.exit_code is None:
                    signal_group(process.pid, signal.SIGHUP)
                    await self._await_end(process, listening)
                listening.cancel()
        except InfrastructureError as error:
            self._stderr = error.message.encode()
        finally:
            self._far.close()

    async def _await_end(self, process: Process, listening: asyncio.Task[None]) -> None:
        await asyncio.wait([listening], timeout=END_SECS)
        # What it left running may hold its stderr open: then only its own end is seen.
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECS):
                await process.wait()

    async def _listen(self, stderr: asyncio.StreamReader | None) -> None:
        while stderr and (data := await stderr.read(KEPT_BYTES)):
            self._stderr = (self._stderr + data)[-KEPT_BYTES:]


class _Near(socket.socket):
    """Our end: after an error of writing, what the command sent before its end would be lost."""

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send what is still taken, and lose the rest."""
        try:
            return super().send(data, flags)
        except ConnectionError:
            return memoryview(data).nbytes
