"""A unix socket here whose connections lead to a socket, or a program, on another machine.

Each connection opens a channel of its own, on whatever ssh connection there is by then, so the
socket stays when an ssh connection is lost and made anew.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from jerichoci.errors import InfrastructureError, PikaciError
from jerichoci.remote.ssh.shell_line import encoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from asyncssh import SSHClientChannel, SSHClientConnection, SSHReader, SSHWriter

    OpenConnection = Callable[[], Awaitable[SSHClientConnection]]

OPEN_SECS = 15.0
"""For the far end to open a channel, on a connection that is there."""
CLOSE_SECS = 5.0
"""For bridged connections to end whose near end is closed."""
CHUNK_BYTES = 256 * 1024
"""The most that is passed on at once."""
WINDOW_BYTES = 8 * 1024 * 1024
"""What the far end may send before it has to wait for us: enough for 100 MB/s over 80 ms."""
LAST_WORDS_BYTES = 2000
"""What is kept of what a far program said on stderr."""
FAILURES = 20
"""How many of the last failures are kept."""


@dataclass
class Forward:
    """What went through, and what didn't."""

    sent: int = 0
    """Bytes from here to there."""
    received: int = 0
    """Bytes from there to here."""
    failures: deque[Exception] = field(default_factory=lambda: deque(maxlen=FAILURES))
    """Why connections led nowhere, the last one last."""
    bridged: set[asyncio.Task[None]] = field(default_factory=set)

    async def settle(self) -> None:
        """Wait for connections whose near end is closed: what failed is told when they end."""
        if self.bridged:
            await asyncio.wait(set(self.bridged), timeout=CLOSE_SECS)


@asynccontextmanager
async def forwarded_socket(
    open_connection: OpenConnection, far_path: str, near_path: Path
) -> AsyncIterator[Forward]:
    """Have `near_path` lead to the unix socket `far_path`; only its owner may connect.

    `open_connection` is asked for every connection, and keeps what it gives. Where it or the far
    end fails, the near connection is closed, and `Forward.failures` says why. The directory of
    `near_path` is made, for its owner only, if it isn't there.

    Raises:
        InfrastructureError: nothing can listen at `near_path`.
    """

    async def bridge(connection: SSHClientConnection, near: _Near, forward: Forward) -> None:
        async with asyncio.timeout(OPEN_SECS):
            reader, writer = await connection.open_unix_connection(far_path, window=WINDOW_BYTES)
        await _bridge(near, _Far(reader, writer), forward)

    async with _listening(open_connection, near_path, far_path, bridge) as forward:
        yield forward


@asynccontextmanager
async def forwarded_command(
    open_connection: OpenConnection, line: str, near_path: Path
) -> AsyncIterator[Forward]:
    """Have every connection to `near_path` be stdin and stdout of a run of `line` over there.

    `line` is one of `shell_line`. Else as `forwarded_socket`; a program that ends otherwise than
    with 0 is a failure too, with the end of what it said on stderr.

    Raises:
        InfrastructureError: nothing can listen at `near_path`.
    """

    async def bridge(connection: SSHClientConnection, near: _Near, forward: Forward) -> None:
        async with asyncio.timeout(OPEN_SECS):
            writer, reader, errors = await connection.open_session(
                encoded(line), encoding=None, window=WINDOW_BYTES
            )
        words = asyncio.create_task(_last_words(errors))
        try:
            await _bridge(near, _Far(reader, writer), forward)
            code = cast("SSHClientChannel[bytes]", writer.channel).get_returncode()
            if code:
                raise _ended(line, code, await words)
        finally:
            words.cancel()
            await asyncio.gather(words, return_exceptions=True)

    async with _listening(open_connection, near_path, line, bridge) as forward:
        yield forward


class _Bridge(Protocol):
    def __call__(
        self, connection: SSHClientConnection, near: _Near, forward: Forward
    ) -> Awaitable[None]: ...


@dataclass(frozen=True)
class _Near:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(frozen=True)
class _Far:
    reader: SSHReader[bytes]
    writer: SSHWriter[bytes]


@asynccontextmanager
async def _listening(
    open_connection: OpenConnection, near_path: Path, far: str, bridge: _Bridge
) -> AsyncIterator[Forward]:
    forward = Forward()

    async def serve(near: _Near) -> None:
        try:
            try:
                await bridge(await open_connection(), near, forward)
            except Exception as error:  # noqa: BLE001 - whoever connected can't be told why
                forward.failures.append(_told(error, far))
            near.writer.close()
            with suppress(OSError):
                await near.writer.wait_closed()
        except asyncio.CancelledError:
            # Closing waits for whoever is there to read the rest.
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
    """A socket at a path; nobody can connect before its mode is right."""
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
            f"nothing can listen at {path}: {error.strerror or error}",
            "a socket's path has at most 107 bytes, and its directory must be one to write to",
        ) from error
    return listener


async def _bridge(near: _Near, far: _Far, forward: Forward) -> None:
    """Pass on what comes from either end, and that no more comes, until the channel is closed.

    A near end that is gone is no failure: it doesn't want more.
    """
    up = asyncio.create_task(_send(near, far, forward))
    down = asyncio.create_task(_receive(far, near, forward))
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


async def _receive(far: _Far, near: _Near, forward: Forward) -> None:
    while chunk := await far.reader.read(CHUNK_BYTES):
        near.writer.write(chunk)
        await near.writer.drain()
        forward.received += len(chunk)
    near.writer.write_eof()
    await far.writer.wait_closed()


async def _last_words(errors: SSHReader[bytes]) -> str:
    words = b""
    while chunk := await errors.read(CHUNK_BYTES):
        words = (words + chunk)[-LAST_WORDS_BYTES:]
    return words.decode("utf-8", "replace").strip()


def _ended(line: str, code: int, words: str) -> InfrastructureError:
    how = f"by signal {-code}" if code < 0 else f"with {code}"
    return InfrastructureError(f"`{line}` ended {how} over there: {words or 'it said nothing'}")


def _told(error: Exception, far: str) -> Exception:
    if isinstance(error, PikaciError):
        return error
    if isinstance(error, TimeoutError):
        return InfrastructureError(f"`{far}` was not opened over there in {OPEN_SECS:g} s")
    reason = getattr(error, "reason", "") or error
    return InfrastructureError(f"the way to `{far}` over there is closed: {reason}")
