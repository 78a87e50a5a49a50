"""Signals that this process was started with as ignored."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT_ALONE = frozenset({signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTIN, signal.SIGTTOU})
"""Python ignores the first two itself and gives them back to children; a terminal answers a process
that catches the others by sending them again, for good."""


@contextmanager
def catching_ignored() -> Iterator[None]:
    """Catch what is ignored, and do nothing about it.

    Programs inherit what is ignored, and not what is caught: a shell ignores SIGQUIT for what it
    starts in the background, and a job would not end by it. Only the main thread may do this.
    """
    ignored = {
        number
        for number in signal.valid_signals() - LEFT_ALONE
        if signal.getsignal(number) is signal.SIG_IGN
    }
    for number in ignored:
        signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
