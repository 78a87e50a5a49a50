"""The agent of one session: does what it is asked to, whether or not anybody listens just now.

- Each request has a number. What becomes of it is kept until the orchestrator says that it got it,
  so a connection that breaks loses nothing and nothing is done twice.
- One connection at a time: a new one takes the place of the old, which may not know yet that it is
  dead.
- An agent that has heard nothing for `limit_secs` ends, and with it all that it holds: processes,
  locks, the directories of runs.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.agent.attach import LISTENING, SOCKET
from jerichoci.agent.fault import told as told_of
from jerichoci.agent.frame import FrameError, pack, unpack
from jerichoci.agent.operation import Call
from jerichoci.agent.service import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOK_SECS = 1.0
"""Between two looks whether anybody was heard."""
END_SECS = 60.0
"""For everything to be let go of, at the end."""
LOCK = "lock"


@dataclass
class _Request:
    """A request, what it said on the way, and its answer."""

    task: asyncio.Task[None] | None = None
    said: list[bytes] = field(default_factory=list)
    answer: bytes | None = None


class Server:
    """The session in `directory`, for work below `work`."""

    def __init__(self, work: Path, directory: Path, told: Mapping[str, Any]) -> None:
        self._directory = directory
        self._limit_secs = float(told["limit_secs"])
        self._service = Service(work, told)
        self._requests: dict[int, _Request] = {}
        self._link: asyncio.StreamWriter | None = None
        self._heard = time.monotonic()
        self._ended = asyncio.Event()

    async def run(self, sink: int) -> None:
        """Serve until told to end, or nobody was heard for too long; `sink` is told when it can."""
        os.chdir(self._directory)
        server = await asyncio.start_unix_server(self._attached, SOCKET)
        Path(SOCKET).chmod(0o600)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)
        os.write(sink, LISTENING)
        os.close(sink)
        try:
            while not self._ended.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECS):
                        await self._ended.wait()
                if time.monotonic() - self._heard > self._limit_secs:
                    break
        finally:
            server.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(END_SECS):
                    await self._let_go()
            if self._link is not None:
                self._link.close()

    async def _let_go(self) -> None:
        tasks = [request.task for request in self._requests.values() if request.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._service.close()

    async def _attached(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            hello, _ = await unpack(reader)
            if hello.get("end"):
                self._ended.set()
                return
            if self._link is not None:
                self._link.close()
            self._link = writer
            self._welcome(hello)
            while True:
                values, data = await unpack(reader)
                self._heard = time.monotonic()
                self._take(values, data)
        except (EOFError, OSError, FrameError):
            pass
        finally:
            if self._link is writer:
                self._link = None
            writer.close()

    def _welcome(self, hello: Mapping[str, Any]) -> None:
        """Say who is here, and what became of what the orchestrator still waits for."""
        self._heard = time.monotonic()
        waiting = {int(number): int(seen) for number, seen in hello["waiting"].items()}
        unknown = [number for number in waiting if number not in self._requests]
        for number in self._requests.keys() - waiting.keys():
            self._forget(number)
        self._send(pack({"welcome": self._service.facts(), "unknown": unknown}))
        for number, seen in waiting.items():
            request = self._requests.get(number)
            if request is not None:
                for frame in request.said[seen:]:
                    self._send(frame)
                if request.answer is not None:
                    self._send(request.answer)

    def _take(self, values: Mapping[str, Any], data: bytes) -> None:
        match values:
            case {"id": int(number), "do": str(name), "args": dict(args)}:
                request = self._requests[number] = _Request()
                request.task = asyncio.create_task(self._do(number, request, name, args, data))
            case {"cancel": int(number)}:
                request = self._requests.get(number, _Request())
                if request.task is not None:
                    request.task.cancel()
            case {"got": int(number)}:
                self._forget(number)
            case {"ping": _}:
                self._send(pack({"pong": True}))
            case {"end": _}:
                self._ended.set()

    def _forget(self, number: int) -> None:
        request = self._requests.get(number)
        if request is not None and (request.task is None or request.task.done()):
            del self._requests[number]

    async def _do(
        self, number: int, request: _Request, name: str, args: dict[str, Any], data: bytes
    ) -> None:
        def say(value: object) -> None:
            frame = pack({"id": number, "say": value})
            request.said.append(frame)
            self._send(frame)

        try:
            value, answer = await self._service.do(name, Call(data, say), args)
            request.answer = pack({"id": number, "ok": value}, answer)
        except asyncio.CancelledError:
            request.answer = pack({"id": number, "cancelled": True})
        except Exception as error:  # noqa: BLE001 - the orchestrator is told
            request.answer = pack({"id": number, "error": told_of(error)})
        self._send(request.answer)

    def _send(self, frame: bytes) -> None:
        if self._link is not None and not self._link.is_closing():
            self._link.write(frame)


def serve(work: str, directory: str, told: Mapping[str, Any], sink: int) -> None:
    """Be the agent of a session, whose directory goes with it."""
    lock = os.open(os.path.join(directory, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # noqa: PTH118 - a string by now
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Another one was quicker.
        return
    code = 1
    try:
        asyncio.run(Server(Path(work), Path(directory), told).run(sink))
        code = 0
    finally:
        sys.stderr.flush()
        if code == 0:
            shutil.rmtree(directory, ignore_errors=True)
