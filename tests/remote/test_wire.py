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
        assert wire.connections == 1


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
