"""The agent of one session: does what it is asked to, whether or not anybody listens just now.

- Each request has a number. What becomes of it is kept until the orchestrator says that it got it,
  so a connection that breaks loses nothing and nothing is done twice.
- One connection at a time: a new one takes the place of the old, which may not know yet that it is
  dead.
- An agent that has heard nothing for `limit_secs` ends, and with it all that it holds: processes,
  locks, the directories of runs. So does one that is never greeted.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError
from jerichoci.machine.signals import catching_ignored
from jerichoci.placement import operations
from jerichoci.remote.agent import agent_operations
from jerichoci.remote.agent.agent_work import AgentWork
from jerichoci.remote.agent.fault import error_to_json
from jerichoci.remote.agent.frame import FrameError, pack, unpack
from jerichoci.remote.agent.host_gc import using
from jerichoci.remote.agent.rendezvous import LISTENING, LOCK, SOCKET
from jerichoci.state.dataclass import dataclass
from jerichoci.state.lock import try_lock
from jerichoci.state.wire import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODULES = (operations, agent_operations)
"""Whose functions can be asked for."""
LOOK_SECS = 1.0
"""Between two looks whether anybody was heard."""
END_SECS = 60.0
"""For everything to be let go of, at the end."""
GREETING_SECS = 90.0
"""For the first orchestrator to say hello; one that could not will not come back to this agent."""
CREDENTIALS = struct.Struct("3i")


@dataclass
class _Request:
    """A request, and its answer."""

    task: asyncio.Task[None] | None = None
    answer: bytes | None = None


class Server:
    """The session in `directory`, for work below `work`."""

    def __init__(self, work: Path, directory: Path, told: Mapping[str, Any]) -> None:
        self._directory = directory
        self._limit_secs = float(told["limit_secs"])
        self._work = AgentWork(work, told)
        self._requests: dict[int, _Request] = {}
        self._link: asyncio.StreamWriter | None = None
        self._heard = time.monotonic()
        self._is_greeted = False
        self._ended = asyncio.Event()

    async def run(self, sink: int) -> None:
        """Serve until asked to end, or silence for too long; `sink` gets `LISTENING` when ready."""
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
                if time.monotonic() - self._heard > self._patience_secs:
                    break
        finally:
            server.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(END_SECS):
                    await self._let_go()
            if self._link is not None and not self._ended.is_set():
                _hang_up(self._link)
            elif self._link is not None:
                self._link.close()

    @property
    def _patience_secs(self) -> float:
        return self._limit_secs if self._is_greeted else min(self._limit_secs, GREETING_SECS)

    async def _let_go(self) -> None:
        tasks = [request.task for request in self._requests.values() if request.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._work.release_all()

    async def _attached(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            hello, _ = await unpack(reader)
            if hello.get("end"):
                self._ended.set()
                return
            waiting = [int(number) for number in hello["waiting"]]
            if self._link is not None:
                _hang_up(self._link)
            self._link = writer
            self._welcome(waiting)
            while True:
                values, data = await unpack(reader)
                if self._link is not writer:
                    # What came late is said again by the one that took its place.
                    return
                self._heard = time.monotonic()
                self._take(values, data)
        except (EOFError, OSError, FrameError, KeyError, ValueError, TypeError, AttributeError):
            # No frames, or not what an orchestrator says: the line is no good.
            pass
        finally:
            if self._link is writer:
                self._link = None
            writer.close()

    def _welcome(self, waiting: Sequence[int]) -> None:
        """Say who is here, and what became of what the orchestrator still waits for."""
        self._heard = time.monotonic()
        self._is_greeted = True
        unknown = [number for number in waiting if number not in self._requests]
        for number in self._requests.keys() - set(waiting):
            self._forget(number)
        self._send(pack({"welcome": to_json(self._work.facts(), []), "unknown": unknown}))
        for number in waiting:
            request = self._requests.get(number)
            if request is not None and request.answer is not None:
                self._send(request.answer)

    def _take(self, values: Mapping[str, Any], data: bytes) -> None:
        match values:
            case {"id": int(number)} if number in self._requests:
                pass
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
        try:
            value, answer = await self._work.do(name, args, data)
            request.answer = pack({"id": number, "ok": value}, answer)
        except FrameError as error:
            told = error_to_json(
                InfrastructureError(f"the answer to `{name}` is too long: {error}")
            )
            request.answer = pack({"id": number, "error": told})
        except asyncio.CancelledError:
            request.answer = pack({"id": number, "cancelled": True})
        except Exception as error:  # noqa: BLE001 - it is sent to the orchestrator
            request.answer = pack({"id": number, "error": error_to_json(error)})
        self._send(request.answer)

    def _send(self, frame: bytes) -> None:
        if self._link is not None and not self._link.is_closing():
            self._link.write(frame)


def _hang_up(link: asyncio.StreamWriter) -> None:
    """End a relay that may be stuck, and the sshd that has it.

    An sshd whose line is dead may not know it for hours. What it started for the same connection
    waits as long for its input to end.
    """
    program = _other_end(link)
    link.transport.abort()
    if program is not None:
        with suppress(OSError, IndexError, ValueError):
            stat = Path(f"/proc/{program}/stat").read_bytes()
            parent = int(stat.rpartition(b")")[2].split()[1])
            # A container may have an sshd as its first process, to which orphans fall.
            if parent > 1 and Path(f"/proc/{parent}/comm").read_bytes().startswith(b"sshd"):
                os.kill(parent, signal.SIGTERM)


def _other_end(link: asyncio.StreamWriter) -> int | None:
    """The process that connected; None where the kernel doesn't tell."""
    connected = link.get_extra_info("socket")
    if connected is None or not hasattr(socket, "SO_PEERCRED"):
        return None
    with suppress(OSError):
        said = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        return int(CREDENTIALS.unpack(said)[0])
    return None


def serve(work: str, directory: str, told: Mapping[str, Any], sink: int) -> None:
    """Be the agent of a session, whose directory goes with it."""
    with try_lock(Path(directory, LOCK)) as held:
        if not held:
            return  # another agent was quicker
        try:
            with using(Path(__file__).parents[3]), catching_ignored():
                asyncio.run(Server(Path(work), Path(directory), told).run(sink))
        finally:
            sys.stderr.flush()
        shutil.rmtree(directory, ignore_errors=True)
