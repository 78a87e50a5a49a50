"""Sockets here that lead to sockets and programs behind a real sshd."""

from __future__ import annotations

import asyncio
import socket
import stat
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from jerichoci.errors import InfrastructureError
from jerichoci.remote.ssh.connection import connect
from jerichoci.remote.ssh.errors import UnreachableHostError
from jerichoci.remote.ssh.forward import Forward, forwarded_command, forwarded_socket
from jerichoci.remote.ssh.shell_line import shell_line
from remote.connecting import trusted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from asyncssh import SSHClientConnection

    from jerichoci.plan.hosts import RemoteHost
    from remote.plain_sshd import PlainSshd

WAIT_SECS = 20.0
LARGE = 8_000_000


class Link:
    """A connection that is made anew once it is closed."""

    def __init__(self, host: RemoteHost) -> None:
        self.host = host
        self.asked = 0
        self.connection: SSHClientConnection | None = None
        self._one_at_a_time = asyncio.Lock()

    async def open(self) -> SSHClientConnection:
        self.asked += 1
        async with self._one_at_a_time:
            if self.connection is None or self.connection.is_closed():
                self.connection = await connect(self.host)
            return self.connection

    async def lose(self) -> None:
        if self.connection:
            self.connection.abort()
            await self.connection.wait_closed()


@pytest_asyncio.fixture
async def link(sshd: PlainSshd, home: Path) -> AsyncIterator[Link]:
    del home
    link = Link(trusted(sshd))
    yield link
    await link.lose()


@asynccontextmanager
async def far_server(path: Path, answer: bytes = b"") -> AsyncIterator[list[int]]:
    """Reads all, then says `answer` and how much it was; the sizes of what it read."""
    read: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read.append(len(await reader.read()))
        writer.write(answer + str(read[-1]).encode())
        await writer.drain()
        await closed(writer)

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield read
    finally:
        server.close()


async def ask(path: Path, data: bytes) -> bytes:
    """What comes back for `data` and an end of file after it."""
    async with asyncio.timeout(WAIT_SECS):
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(data)
            await writer.drain()
            writer.write_eof()
            return await reader.read()
        finally:
            await closed(writer)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_SECS):
        while not condition():  # noqa: ASYNC110 - it is another process's, or a plain value
            await asyncio.sleep(0.01)


async def until_failed(forward: Forward) -> Exception:
    await until(lambda: forward.failure)
    assert forward.failure
    return forward.failure


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_far_socket_is_spoken_to_in_both_directions_and_counted(
    link: Link, tmp_path: Path
) -> None:
    near = tmp_path / "near" / "socket"
    async with (
        far_server(tmp_path / "far", b"x" * LARGE),
        forwarded_socket(link.open, str(tmp_path / "far"), near) as forward,
    ):
        answer = await ask(near, b"y" * LARGE)
        assert answer == b"x" * LARGE + str(LARGE).encode()
        assert forward.sent == LARGE
        assert not forward.failure
    assert not near.exists()


async def test_only_its_owner_may_connect(link: Link, tmp_path: Path) -> None:
    near = tmp_path / "near" / "socket"
    async with forwarded_socket(link.open, "/none", near):
        assert stat.S_IMODE(near.stat().st_mode) == 0o600
        assert stat.S_IMODE(near.parent.stat().st_mode) == 0o700


async def test_many_connections_are_bridged_at_once(link: Link, tmp_path: Path) -> None:
    near = tmp_path / "near"
    async with (
        far_server(tmp_path / "far") as read,
        forwarded_socket(link.open, str(tmp_path / "far"), near),
    ):
        answers = await asyncio.gather(*(ask(near, b"z" * size) for size in range(8)))
    assert answers == [str(size).encode() for size in range(8)]
    assert sorted(read) == list(range(8))


async def test_a_socket_outlives_its_connection(link: Link, tmp_path: Path) -> None:
    near = tmp_path / "near"
    async with (
        far_server(tmp_path / "far"),
        forwarded_socket(link.open, str(tmp_path / "far"), near),
    ):
        assert await ask(near, b"one") == b"3"
        await link.lose()
        assert await ask(near, b"four") == b"4"
    assert link.asked == 2


async def test_a_lost_connection_ends_what_is_bridged(link: Link, tmp_path: Path) -> None:
    near = tmp_path / "near"
    async with forwarded_command(link.open, shell_line(["cat"]), near) as forward:
        reader, writer = await asyncio.open_unix_connection(near)
        writer.write(b"a")
        async with asyncio.timeout(WAIT_SECS):
            assert await reader.readexactly(1) == b"a"
            await link.lose()
            assert await reader.read() == b""
        await closed(writer)
        assert forward.sent == 1


async def test_a_near_end_that_goes_takes_its_far_end_along(link: Link, tmp_path: Path) -> None:
    near = tmp_path / "near"
    line = shell_line(["sh", "-c", f"cat >/dev/null; echo over > {tmp_path}/over"])
    async with forwarded_command(link.open, line, near) as forward:
        _, writer = await asyncio.open_unix_connection(near)
        writer.transport.abort()
        await until((tmp_path / "over").exists)
        assert not forward.failure


async def test_a_far_end_that_goes_takes_its_near_end_along(link: Link, tmp_path: Path) -> None:
    near = tmp_path / "near"
    async with forwarded_command(link.open, shell_line(["echo", "hello"]), near) as forward:
        reader, writer = await asyncio.open_unix_connection(near)
        async with asyncio.timeout(WAIT_SECS):
            assert await reader.read() == b"hello\n"
            await until_refused(writer)
        assert not forward.failure


async def until_refused(writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while True:
            writer.write(b"more")
            await writer.drain()
            await asyncio.sleep(0.01)
    await closed(writer)


async def test_a_program_is_spoken_to_through_its_stdin_and_stdout(
    link: Link, tmp_path: Path
) -> None:
    near = tmp_path / "near"
    async with forwarded_command(link.open, shell_line(["cat"]), near) as forward:
        data = bytes(range(256)) * (LARGE // 256)
        assert await ask(near, data) == data
        assert forward.sent == len(data)


async def test_what_a_program_says_on_stderr_neither_blocks_it_nor_gets_between(
    link: Link, tmp_path: Path
) -> None:
    near = tmp_path / "near"
    script = f"head -c {3 * LARGE} /dev/zero >&2; echo out"
    async with forwarded_command(link.open, shell_line(["sh", "-c", script]), near) as forward:
        assert await ask(near, b"") == b"out\n"
        assert not forward.failure


async def test_a_program_that_fails_is_a_failure_with_its_last_words(
    link: Link, tmp_path: Path
) -> None:
    near = tmp_path / "near"
    line = shell_line(["sh", "-c", "echo oh no >&2; exit 3"])
    async with forwarded_command(link.open, line, near) as forward:
        assert await ask(near, b"") == b""
        assert "exited with 3 on the host: oh no" in str(await until_failed(forward))


async def test_a_far_socket_that_is_not_there_is_a_failure(link: Link, tmp_path: Path) -> None:
    near = tmp_path / "near"
    async with forwarded_socket(link.open, str(tmp_path / "none"), near) as forward:
        assert await ask(near, b"") == b""
        failure = await until_failed(forward)
    assert isinstance(failure, InfrastructureError)
    assert str(tmp_path / "none") in str(failure)


async def test_a_connection_that_can_not_be_had_is_a_failure(tmp_path: Path) -> None:
    wrong = UnreachableHostError("lab", "lab is gone")

    async def none() -> SSHClientConnection:
        raise wrong

    near = tmp_path / "near"
    async with forwarded_socket(none, "/none", near) as forward:
        assert await ask(near, b"") == b""
        assert await until_failed(forward) is wrong


async def test_bridges_end_with_the_block_even_if_nobody_reads(link: Link, tmp_path: Path) -> None:
    near = tmp_path / "near"
    line = shell_line(["sh", "-c", "exec head -c 50000000 /dev/zero"])
    async with forwarded_command(link.open, line, near):
        reader, writer = await asyncio.open_unix_connection(near, limit=1)
        async with asyncio.timeout(WAIT_SECS):
            received = len(await reader.readexactly(1))
    assert not near.exists()
    async with asyncio.timeout(WAIT_SECS):
        while chunk := await reader.read(1_000_000):
            assert not chunk.strip(b"\0")
            received += len(chunk)
    assert received < 50_000_000
    await closed(writer)


async def test_a_path_that_is_too_long_says_so(link: Link, tmp_path: Path) -> None:
    near = tmp_path / ("n" * 120)
    with pytest.raises(InfrastructureError, match=r"can't listen at .*107 bytes"):
        async with forwarded_socket(link.open, "/none", near):
            pass


async def test_a_socket_left_by_somebody_who_was_killed_is_replaced(
    link: Link, tmp_path: Path
) -> None:
    near = tmp_path / "near"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(near))
    assert near.is_socket()
    async with forwarded_command(link.open, shell_line(["cat"]), near):
        assert await ask(near, b"a") == b"a"
