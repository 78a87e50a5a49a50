"""A program on this machine that has our terminal, or our pipes."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jerichoci.machine.terminal import on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

END_SECS = 5.0
"""From a terminal that goes away to killing who stays."""


async def run_in_foreground(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> int:
    """Run a program to its end; its exit code. If this process is stopped, it is ended first."""
    running = await asyncio.create_subprocess_exec(*argv, cwd=cwd, env=env)
    try:
        with _interrupts_left_to_it():
            code = await running.wait()
    except BaseException:
        # Cancelled or told to end: it must not outlive us. What it was goes on, below.
        with suppress(ProcessLookupError):
            running.send_signal(signal.SIGHUP)
        try:
            async with asyncio.timeout(END_SECS):
                await running.wait()
        except TimeoutError:
            running.kill()
            await running.wait()
        raise
    return code if code >= 0 else 128 - code


@contextmanager
def _interrupts_left_to_it() -> Iterator[None]:
    """Leave Ctrl-C to the program, which the terminal tells as well."""
    before = signal.getsignal(signal.SIGINT)
    if not on_terminal() or not callable(before):
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        # Other signals come here, too, to be taken as interrupts.
        if number != signal.SIGINT:
            before(number, frame)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
