"""What a job prints, on its way into a log: a pipe and a `cat`.

A job must not hold the log itself: a program that opens /dev/stderr anew would cut it off, and many
small writes to a file cost more than to a pipe. `cat` is a process of its own, so what was printed
gets into the log even when the job, or the orchestrator, is killed; it ends when nothing can print
any more.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine import process
from jerichoci.machine.secret_files import in_memory, redacting_argv, unnamed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

PIPE_BYTES = 1024 * 1024
"""What Linux lets any user have: fewer switches between who prints and who writes."""
DRAIN_SECS = 10.0
"""For a full pipe to reach a slow disk, after the last of the job is gone. Only a child that left
its process group, where there is no namespace, holds the pipe for longer."""


class Pump:
    """A pipe into a log; `sink` is its writing end until `hand_over`."""

    def __init__(self, cat: asyncio.subprocess.Process, sink: int) -> None:
        self._cat = cat
        self._given_up = False
        self.sink = sink

    def hand_over(self) -> None:
        """Leave the writing end to those who have it by now."""
        if self.sink >= 0:
            os.close(self.sink)
            self.sink = -1

    async def drain(self) -> None:
        """Wait until all output is in the log; only once if others hold the pipe."""
        self.hand_over()
        if self._given_up:
            return
        try:
            async with asyncio.timeout(DRAIN_SECS):
                code = await self._cat.wait()
        except TimeoutError:
            self._given_up = True
            return
        if code != 0:
            raise not_written()


def not_written() -> InfrastructureError:
    """What to raise for a job whose log is not whole."""
    return InfrastructureError(
        "what the job printed could not be written to its log",
        "is the disk under the state root, or the host's work directory, full?",
    )


@asynccontextmanager
async def pumping(log: Path, secrets: Sequence[bytes] = ()) -> AsyncIterator[Pump]:
    """Pump into the end of `log`, which is created; the secrets don't get there."""
    source, sink = os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # more than this user may have: the pipe is smaller
                fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        with in_memory(unnamed(secrets)) if secrets else nullcontext(-1) as told:
            argv, fds = (redacting_argv(told), [told]) if secrets else (["cat"], [])
            started = process.child(argv, stdin=source, stdout=file, stderr=file, pass_fds=fds)
            async with started as cat:
                os.close(source)
                source = -1
                pump = Pump(cat, sink)
                sink = -1
                try:
                    yield pump
                    await pump.drain()
                finally:
                    pump.hand_over()
    finally:
        for fd in (source, sink, file):
            if fd >= 0:
                os.close(fd)
