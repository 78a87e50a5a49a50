"""A unix socket here whose connections lead to a socket, or a program, on another machine.

Each connection opens a channel of its own, on the ssh connection of that moment, so the socket
works on when an ssh connection is lost and made anew.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from jerichoci.errors import InfrastructureError, PikaciError
from jerichoci.remote.ssh.channel import opened
from jerichoci.remote.ssh.shell_line import encoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from asyncssh import SSHClientConnection, SSHReader, SSHWriter

    OpenConnection = Callable[[], Awaitable[SSHClientConnection]]
    OpenChannel = Callable[[SSHClientConnection], Awaitable["_Far"]]

OPEN_SECS = 15.0
"""For the host to open a channel on an existing connection."""
CLOSE_SECS = 5.0
"""For bridged connections to end whose near end is closed."""
CHUNK_BYTES = 256 * 1024
"""The most that is passed on at once."""
WINDOW_BYTES = 8 * 1024 * 1024
"""What the host may send before it has to wait for us: enough for 100 MB/s over 80 ms."""
STDERR_BYTES = 2000
"""What is kept of the end of a program's stderr."""


class Forward:
    """The connections to one socket."""

    def __init__(self) -> None:
        self.sent = 0
        """Bytes from here to the host."""
        self.failure: Exception | None = None
        """Why the last failed connection failed."""
        self.bridged: set[asyncio.Task[None]] = set()

    async def settle(self) -> None:
        """Wait for connections whose near end is closed: then `failure` is known."""
        if self.bridged:
            await asyncio.wait(set(self.bridged), timeout=CLOSE_SECS)


class _Near(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class _Far(NamedTuple):
    reader: SSHReader[bytes]
    writer: SSHWriter[bytes]
    stderr: SSHReader[bytes] | None = None


def forwarded_socket(
    open_connection: OpenConnection, far_path: str, near_path: Path
) -> AbstractAsyncContextManager[Forward]:
    """Have `near_path` lead to the unix socket `far_path`; only its owner may connect.

    `open_connection` is asked for every connection, and keeps what it returns. Where it or the
    host fails, the near connection is closed, and `Forward.failure` is set.
    """

    async def open_channel(connection: SSHClientConnection) -> _Far:
        return _Far(*await connection.open_unix_connection(far_path, window=WINDOW_BYTES))

    return _listening(open_connection, near_path, far_path, open_channel)


def forwarded_command(
    open_connection: OpenConnection, line: str, near_path: Path
) -> AbstractAsyncContextManager[Forward]:
    """Have every connection to `near_path` be stdin and stdout of a run of `line` on the host.

    `line` is one of `shell_line`. Else as `forwarded_socket`; a program that doesn't end with 0 is
    a failure too.
    """

    async def open_channel(connection: SSHClientConnection) -> _Far:
        writer, reader, stderr = await connection.open_session(
            encoded(line), encoding=None, window=WINDOW_BYTES
        )
        return _Far(reader, writer, stderr)

    return _listening(open_connection, near_path, line, open_channel)


@asynccontextmanager
async def _listening(
    open_connection: OpenConnection, near_path: Path, target: str, open_channel: OpenChannel
) -> AsyncIterator[Forward]:
    forward = Forward()

    async def serve(near: _Near) -> None:
        try:
            try:
                connection = await open_connection()
                async with asyncio.timeout(OPEN_SECS):
                    far = await opened(open_channel(connection))
                await _run_bridge(near, far, forward, target)
            except Exception as error:  # noqa: BLE001 - the client on the socket can't be told why
                forward.failure = _failure(error, target)
            near.writer.close()
            with suppress(OSError):
                await near.writer.wait_closed()
        except asyncio.CancelledError:
            # Closing would wait for the client to read the rest.
            if not near.writer.is_closing() or near.writer.transport.get_write_buffer_size():
                near.writer.transport.abort()
            raise

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(_Near(reader, writer)))
        forward.bridged.add(task)
        task.add_done_callback(forward.bridged.discard)

    listener = _bound(near_path)
    try:
        server = await asyncio.start_unix_server(accept, sock=listener, limit=CHUNK_BYTES)
        try:
            yield forward
        finally:
            server.close()
            for task in forward.bridged:
                task.cancel()
            await forward.settle()
    finally:
        listener.close()
        near_path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    """A socket at a path; nothing can connect before its mode is right."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_socket():
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o600)
    except OSError as error:
        listener.close()
        raise InfrastructureError(
            f"can't listen at {path}: {error.strerror or error}",
            "a socket's path has at most 107 bytes, and its directory must be writable",
        ) from error
    return listener


async def _run_bridge(near: _Near, far: _Far, forward: Forward, target: str) -> None:
    if far.stderr is None:
        await _bridge(near, far, forward)
        return
    reading = asyncio.create_task(_end_of(far.stderr))
    try:
        await _bridge(near, far, forward)
        # Like a process: below 0 for a signal.
        code = far.writer.channel.get_returncode()  # type: ignore[attr-defined] # a session's has it
        if code:
            how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
            output = await reading or "it printed nothing"
            raise InfrastructureError(f"`{target}` {how} on the host: {output}")
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _bridge(near: _Near, far: _Far, forward: Forward) -> None:
    """Pass on what comes from either end, and its end, until the channel is closed.

    A near end that is gone is no failure: it doesn't want more.
    """
    up = asyncio.create_task(_send(near, far, forward))
    down = asyncio.create_task(_receive(far, near))
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        if up.done() and not up.exception():
            await asyncio.wait({down})
        for task in (up, down):
            if task.done():
                with suppress(ConnectionError):
                    task.result()
    finally:
        far.writer.close()
        up.cancel()
        down.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _send(near: _Near, far: _Far, forward: Forward) -> None:
    # A far end that takes no more has its reason; what it sends until then is read to the end.
    with suppress(BrokenPipeError):
        while chunk := await near.reader.read(CHUNK_BYTES):
            far.writer.write(chunk)
            await far.writer.drain()
            forward.sent += len(chunk)
        far.writer.write_eof()


async def _receive(far: _Far, near: _Near) -> None:
    while chunk := await far.reader.read(CHUNK_BYTES):
        near.writer.write(chunk)
        await near.writer.drain()
    near.writer.write_eof()
    await far.writer.wait_closed()


async def _end_of(stderr: SSHReader[bytes]) -> str:
    end = b""
    while chunk := await stderr.read(CHUNK_BYTES):
        end = (end + chunk)[-STDERR_BYTES:]
    return end.decode("utf-8", "replace").strip()


def _failure(error: Exception, target: str) -> Exception:
    if isinstance(error, PikaciError):
        return error
    if isinstance(error, TimeoutError):
        return InfrastructureError(f"the host did not open `{target}` within {OPEN_SECS:g} s")
    reason = getattr(error, "reason", "") or error
    return InfrastructureError(f"the connection to `{target}` on the host was closed: {reason}")
