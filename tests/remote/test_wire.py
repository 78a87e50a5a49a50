"""A wire delays, stalls and breaks as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from remote.wire import HERE, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COME_SECS = 20
SILENCE_SECS = 0.5
DELAY_SECS = 0.05
SIZE = 4 << 20


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """The port of somebody who sends back all there is."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1 << 16):
                writer.write(chunk)
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, HERE, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def connected(wire: Wire) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(wire.address, wire.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_round_trip_takes_twice_the_delay() -> None:
    async with echo() as port:
        with Wire(HERE, port, delay_secs=DELAY_SECS) as wire:
            async with connected(wire) as (reader, writer):
                for _ in range(3):
                    writer.write(b"x")
                    begun = time.monotonic()
                    assert await asyncio.wait_for(reader.readexactly(1), COME_SECS) == b"x"
                    assert time.monotonic() - begun >= 2 * DELAY_SECS
        assert (wire.bytes_up, wire.bytes_down, wire.connections) == (3, 3, 1)


async def test_what_follows_does_not_wait_for_what_is_under_way() -> None:
    async with echo() as port:
        with Wire(HERE, port, delay_secs=DELAY_SECS) as wire:
            async with connected(wire) as (reader, writer):
                sending = asyncio.create_task(_send(writer, b"x" * SIZE))
                begun = time.monotonic()
                assert len(await asyncio.wait_for(reader.readexactly(SIZE), COME_SECS)) == SIZE
                await sending
        # One chunk a round trip would take 64 of them.
        assert time.monotonic() - begun < 32 * 2 * DELAY_SECS


async def test_an_end_comes_after_what_was_sent() -> None:
    async with echo() as port:
        with Wire(HERE, port, delay_secs=DELAY_SECS) as wire:
            async with connected(wire) as (reader, writer):
                writer.write(b"all of it")
                writer.write_eof()
                assert await asyncio.wait_for(reader.read(), COME_SECS) == b"all of it"


async def test_a_stalled_wire_breaks_nothing() -> None:
    async with echo() as port:
        with Wire(HERE, port) as wire:
            async with connected(wire) as (reader, writer):
                writer.write(b"x")
                await asyncio.wait_for(reader.readexactly(1), COME_SECS)
                wire.stall()
                writer.write(b"y")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reader.readexactly(1), SILENCE_SECS)
                wire.resume()
                assert await asyncio.wait_for(reader.readexactly(1), COME_SECS) == b"y"


async def test_a_cut_wire_breaks_connections_and_refuses_new_ones() -> None:
    async with echo() as port:
        with Wire(HERE, port) as wire:
            async with connected(wire) as (reader, writer):
                writer.write(b"x")
                await asyncio.wait_for(reader.readexactly(1), COME_SECS)
                wire.cut()
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(reader.readexactly(1), COME_SECS)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(wire.address, wire.port)
            wire.join()
            async with connected(wire) as (reader, writer):
                writer.write(b"y")
                assert await asyncio.wait_for(reader.readexactly(1), COME_SECS) == b"y"


async def test_nobody_at_the_other_end_ends_a_connection() -> None:
    async with echo() as port:
        pass
    with Wire(HERE, port) as wire:
        async with connected(wire) as (reader, _):
            assert await asyncio.wait_for(reader.read(), COME_SECS) == b""


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
