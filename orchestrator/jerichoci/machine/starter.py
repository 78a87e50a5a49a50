"""What starts the jobs of this host, as the orchestrator or an agent has it: see `starting`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections import deque
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError
from jerichoci.machine import process
from jerichoci.machine.environment import host_environment
from jerichoci.machine.job_start import HEAD_BYTES
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.machine.job_start import Start

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    "from jerichoci.machine import starting; starting.main()"
)
_ROOT = str(Path(__file__).parents[2])
HEARD_BYTES = 64 * 1024


@dataclass(frozen=True)
class End:
    """How a job ended: a status of `waitpid`, and whether all that it printed is in its log."""

    status: int
    is_whole: bool


class StartedJob:
    """A job that runs, or has ended."""

    def __init__(self, starter: Starter, number: int, pid: int, end: asyncio.Future[End]) -> None:
        self._starter = starter
        self._number = number
        self._end = end
        self.pid = pid

    async def wait(self) -> End:
        """Wait for its end, and for its output to be in the log."""
        return await asyncio.shield(self._end)

    def signal(self, number: signal.Signals) -> None:
        """Signal its first process, or its group where it has no namespace."""
        if not self._end.done():
            self._starter.signal(self._number, number)


class Starter:
    """The process that starts jobs, from the first job on."""

    def __init__(self) -> None:
        self._held = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._socket: socket.socket | None = None
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()
        self._heard = b""
        self._count = 0
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ends: dict[int, asyncio.Future[End]] = {}

    async def open(self) -> None:
        """Have the process, if there is none yet, or no more."""
        async with self._opening:
            if self._socket is not None:
                return
            ours, theirs = socket.socketpair()
            try:
                argv = [sys.executable, "-IS", "-c", _PROGRAM, _ROOT]
                nothing = asyncio.subprocess.DEVNULL
                env = host_environment()
                made = process.child(
                    argv, env=env, stdin=theirs.fileno(), stdout=nothing, stderr=nothing
                )
                await self._held.enter_async_context(made)
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
            ours.setblocking(False)  # noqa: FBT003 - as the method has it
            self._socket, self._heard = ours, b""
            asyncio.get_running_loop().add_reader(ours, self._hear)

    async def close(self) -> None:
        """End the process, and all jobs that still run."""
        self._lose()
        await self._held.aclose()

    async def start(
        self, start: Start, cwd: Path, log: Path | None, fds: Sequence[int]
    ) -> StartedJob:
        """Start a job.

        `fds` are that of its report, the end of a pipe for what it prints if there is no `log`, and
        what its setup is given.

        Raises:
            OSError: the log can't be written, or there can be no process.
        """
        await self.open()
        loop = asyncio.get_running_loop()
        self._count += 1
        number, place = self._count, (None if log is None else str(log))
        reply = self._replies[number] = loop.create_future()
        end = self._ends[number] = loop.create_future()
        try:
            self._post({"id": number, "cwd": str(cwd), "log": place, "start": start}, fds)
            answer = await reply
            if "errno" in answer:
                del self._ends[number]
                raise OSError(answer["errno"], answer["error"], place)
        except asyncio.CancelledError:
            self.signal(number, signal.SIGKILL)
            raise
        finally:
            del self._replies[number]
        return StartedJob(self, number, answer["pid"], end)

    def signal(self, number: int, what: signal.Signals) -> None:
        """Signal a job; one that is gone is no error."""
        self._post({"id": number, "signal": what})

    def _post(self, told: dict[str, Any], fds: Sequence[int] = ()) -> None:
        data = json.dumps(told).encode()
        self._outgoing.append((len(data).to_bytes(HEAD_BYTES), [os.dup(fd) for fd in fds]))
        self._outgoing.append((data, []))
        self._send()

    def _send(self) -> None:
        if self._socket is None:
            return
        loop = asyncio.get_running_loop()
        while self._outgoing:
            data, fds = self._outgoing[0]
            try:
                sent = socket.send_fds(self._socket, [data], fds)
            except BlockingIOError:
                loop.add_writer(self._socket, self._send)
                return
            except OSError:
                self._lose()
                return
            self._outgoing[0] = data[sent:], []
            for fd in fds:
                os.close(fd)
            if sent == len(data):
                self._outgoing.popleft()
        loop.remove_writer(self._socket)

    def _hear(self) -> None:
        try:
            data = self._socket.recv(HEARD_BYTES) if self._socket else b""
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            told = json.loads(line)
            if "status" in told:
                end = self._ends.pop(told["id"], None)
                if end and not end.done():
                    end.set_result(End(told["status"], told["is_whole"]))
            elif (reply := self._replies.get(told["id"])) and not reply.done():
                reply.set_result(told)

    def _lose(self) -> None:
        """Be without the process; its jobs die with it."""
        if self._socket is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.remove_writer(self._socket)
        self._socket.close()
        self._socket = None
        for _, fds in self._outgoing:
            for fd in fds:
                os.close(fd)
        self._outgoing.clear()
        waiting: list[asyncio.Future[Any]] = [*self._replies.values(), *self._ends.values()]
        self._ends = {}
        for future in waiting:
            if not future.done():
                future.set_exception(
                    InfrastructureError(
                        "the process that starts jobs was killed", "was the machine out of memory?"
                    )
                )
                future.exception()  # it may be that nothing waits for it
