"""A way to a TCP port that takes as long as a test likes, and stalls or breaks when it says so."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Coroutine

HERE = "127.0.0.1"
CHUNK = 1 << 16
UNDER_WAY = 512
"""Chunks that a direction holds: 32 MiB, more than a fast line of 100 ms has under way."""
ACT_SECS = 10
CONNECT_SECS = 30
RESET = struct.pack("ii", 1, 0)
"""Linger for no time at all: closing tells the peer at once that the connection is broken."""


class Wire:
    """Listens on `address` and `port`, and passes on what comes, both ways, while the block runs.

    What goes in comes out after `delay_secs`, so a round trip takes twice that; what follows
    doesn't wait for it.
    """

    address = HERE

    def __init__(self, target_address: str, target_port: int, *, delay_secs: float = 0.0) -> None:
        self.delay_secs = delay_secs
        self.connections = 0
        """How many there have been."""
        self._target = (target_address, target_port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        # Never listens; while the wire is cut, it keeps the port from others.
        self._reservation = _bound(0)
        self.port: int = self._reservation.getsockname()[1]
        self._listener: asyncio.Server | None = None
        self._flows: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.join()
        return self

    def __exit__(self, *_error: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ACT_SECS)
        self._loop.close()
        self._reservation.close()

    def stall(self) -> None:
        """Pass nothing on, and break nothing."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def resume(self) -> None:
        """Pass on what has come meanwhile, and all that comes."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def cut(self) -> None:
        """Break all connections and refuse new ones; what is under way is lost."""
        self._act(self._cut())

    def join(self) -> None:
        """Take connections again."""
        self._act(self._join())

    def _act(self, what: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(ACT_SECS)

    async def _join(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, sock=_bound(self.port))

    async def _cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in self._open:
            with contextlib.suppress(OSError):
                near = writer.get_extra_info("socket")
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        flows = list(self._flows)
        for flow in flows:
            flow.cancel()
        await asyncio.gather(*flows, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        flow = asyncio.current_task()
        assert flow is not None
        self._flows.add(flow)
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._connect(reader, writer)
        finally:
            self._flows.discard(flow)
            await self._close(writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Connecting is a round trip.
        await asyncio.sleep(2 * self.delay_secs)
        await self._flowing.wait()
        async with asyncio.timeout(CONNECT_SECS):
            there, up = await asyncio.open_connection(*self._target)
        self._open.add(up)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, up))
                both.create_task(self._pass_on(there, writer))
        except* OSError:
            pass
        finally:
            await self._close(up)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        under_way = asyncio.Queue[tuple[float, bytes]](UNDER_WAY)

        async def take() -> None:
            while True:
                chunk = await source.read(CHUNK)
                await under_way.put((time.monotonic() + self.delay_secs, chunk))
                if not chunk:
                    return

        async def give() -> None:
            while True:
                due, chunk = await under_way.get()
                await asyncio.sleep(due - time.monotonic())
                await self._flowing.wait()
                if not chunk:
                    sink.write_eof()
                    return
                sink.write(chunk)
                await sink.drain()

        async with asyncio.TaskGroup() as ends:
            ends.create_task(take())
            ends.create_task(give())


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((HERE, port))
    return made
