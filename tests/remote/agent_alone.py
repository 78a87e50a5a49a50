"""Agents on this machine, without ssh: the far end of a session, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jerichoci.remote.agent.boot import MARK
from jerichoci.remote.agent.bundle import boot_argv, bundle
from jerichoci.remote.agent.frame import pack, unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

ANSWER_SECS = 30.0
END_SECS = 60.0
POLL_SECS = 0.02
LIMIT_SECS = 600.0


@dataclass
class Line:
    """A relay to an agent; `said` is what it answered before there were frames."""

    process: asyncio.subprocess.Process
    said: dict[str, Any] = field(default_factory=dict)

    def send(self, values: Mapping[str, Any], data: bytes = b"") -> None:
        self.send_bytes(pack(values, data))

    def send_bytes(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def ask(self, number: int, do: str, data: bytes = b"", /, **args: object) -> None:
        self.send({"id": number, "do": do, "args": args}, data)

    async def receive(self) -> tuple[dict[str, Any], bytes]:
        assert self.process.stdout is not None
        async with asyncio.timeout(ANSWER_SECS):
            return await unpack(self.process.stdout)

    async def answer(self, number: int) -> tuple[Any, bytes]:
        """The answer to a request, whatever comes before it."""
        while True:
            values, data = await self.receive()
            if values.get("id") == number:
                self.send({"got": number})
                assert "ok" in values, values
                return values["ok"], data

    async def hello(self, waiting: Sequence[int] = ()) -> dict[str, Any]:
        self.send({"waiting": list(waiting)})
        values, _ = await self.receive()
        return values

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def ended(self) -> None:
        """Wait until the agent has hung up."""
        # Not `wait`, which waits for what nobody reads, too.
        await until(lambda: self.process.returncode is not None)


class Agents:
    """Agents below a work directory."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self._lines: list[Line] = []

    def session(self, name: str) -> Path:
        return self.work / "sessions" / name

    async def attach(
        self, session: str, *, resume: bool = False, limit_secs: float = LIMIT_SECS
    ) -> Line:
        """A line to the agent of a session, which is started unless it is to be resumed."""
        agent = bundle()
        told = {
            "work_dir": str(self.work),
            "digest": agent.digest,
            "bytes": len(agent.data),
            "session": session,
            "resume": resume,
            "limit_secs": limit_secs,
            "search_path": [],
            "nix_settings": [],
            "nix_offline": True,
            "capacity": {},
        }
        python, *rest = boot_argv(told)
        # Without site-packages: the standard library has to be enough.
        process = await asyncio.create_subprocess_exec(
            *(python, "-S", *rest),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        line = Line(process)
        self._lines.append(line)
        assert process.stdout is not None
        while not line.said.keys() & {"attached", "gone", "fault"}:
            said = await process.stdout.readline()
            line.said = json.loads(said.removeprefix(MARK))
            if line.said.get("need"):
                line.send_bytes(agent.data)
        return line

    async def greeted(self, session: str, **how: Any) -> Line:  # noqa: ANN401 - as `attach` has it
        """Likewise, after hello and welcome."""
        line = await self.attach(session, **how)
        assert "welcome" in await line.hello()
        return line

    async def close(self) -> None:
        for line in self._lines:
            await line.kill()
            # Its transport is closed in the loop's next turns.
            line.process._transport.close()  # type: ignore[attr-defined]
        for session in (self.work / "sessions").glob("*"):
            _tell_to_end(session)
        sessions = self.work / "sessions"
        await until(lambda: not any(map(self._alive, sessions.glob("*"))))

    @staticmethod
    def _alive(session: Path) -> bool:
        return _connected(session, b"")


def _tell_to_end(session: Path) -> None:
    _connected(session, pack({"end": True}))


def _connected(session: Path, data: bytes) -> bool:
    """Whether an agent is there; it is sent some bytes."""
    try:
        directory = os.open(session, os.O_PATH)
    except FileNotFoundError:
        return False
    try:
        with socket.socket(socket.AF_UNIX) as link:
            # A socket's path has 107 bytes at most.
            link.connect(f"/proc/self/fd/{directory}/socket")
            link.sendall(data)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(directory)


async def until(come: Callable[[], bool]) -> None:
    """Wait until something has come."""
    async with asyncio.timeout(END_SECS):
        while not come():  # noqa: ASYNC110 - other processes set no Event
            await asyncio.sleep(POLL_SECS)


@asynccontextmanager
async def agents_below(work: Path) -> AsyncIterator[Agents]:
    """Agents, of which none is left afterwards."""
    work.mkdir(mode=0o700)
    agents = Agents(work)
    try:
        yield agents
    finally:
        await agents.close()
