"""A wire delays, stalls and breaks as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from remote.wire import HERE, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

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
async def spoken_to(wire: Wire) -> AsyncIterator[Callable[[float], Awaitable[None]]]:
    """What says a byte through a wire, and has it back within some seconds."""
    reader, writer = await asyncio.open_connection(wire.address, wire.port)

    async def speak(secs: float) -> None:
        writer.write(b"x")
        assert await asyncio.wait_for(reader.readexactly(1), secs) == b"x"

    try:
        yield speak
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_round_trip_takes_twice_the_delay() -> None:
    async with echo() as port:
        with Wire(HERE, port, delay_secs=DELAY_SECS) as wire:
            async with spoken_to(wire) as speak:
                for _ in range(3):
                    begun = time.monotonic()
                    await speak(COME_SECS)
                    assert time.monotonic() - begun >= 2 * DELAY_SECS
        assert wire.connections == 1


async def test_a_stalled_wire_breaks_nothing_and_a_cut_one_all_connections() -> None:
    async with echo() as port:
        with Wire(HERE, port) as wire:
            async with spoken_to(wire) as speak:
                await speak(COME_SECS)
                wire.stall()
                with pytest.raises(TimeoutError):
                    await speak(SILENCE_SECS)
                wire.resume()
                await speak(COME_SECS)
                wire.cut()
                with pytest.raises(ConnectionResetError):
                    await speak(COME_SECS)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(wire.address, wire.port)
            wire.join()
            async with spoken_to(wire) as speak:
                await speak(COME_SECS)
