"""The terminal that this process is on."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 64 * 1024
FALLBACK = os.terminal_size((80, 24))


def on_terminal() -> bool:
    """Whether what is typed comes from a terminal and what is printed goes to one."""
    return os.isatty(0) and os.isatty(1)


def window_size() -> tuple[int, int]:
    """The terminal's columns and rows."""
    try:
        size = os.get_terminal_size(1)
    except OSError:
        size = FALLBACK
    return (size.columns or FALLBACK.columns, size.lines or FALLBACK.lines)


def read_stdin() -> bytes:
    """What is typed next; empty at the end, or if stdin was closed from the start."""
    while sys.stdin is not None:
        try:
            select.select([0], [], [])  # it may be shared and non-blocking
            return os.read(0, CHUNK_BYTES)
        except BlockingIOError:
            continue
        except OSError:
            break
    return b""


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Have every key passed on as it is typed; the terminal is as it was afterwards."""
    before = termios.tcgetattr(0)
    # Not TCSAFLUSH: what was typed ahead counts, and output that is held up holds up no end.
    try:
        tty.setraw(0, termios.TCSANOW)
        yield
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(0, termios.TCSANOW, before)
