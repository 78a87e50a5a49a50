"""How a run is shown while it runs: sinks of one event stream.

stdout carries data only (`json`, `jsonl`); what is for people goes to stderr, live on a terminal,
a line an event elsewhere.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from jerichoci.errors import (
    EXIT_CANCELLED,
    EXIT_INFRASTRUCTURE,
    EXIT_PASSED,
    EXIT_TEST_FAILURE,
    EXIT_TIMEOUT,
)
from jerichoci.status import FailureKind, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.journal import Sink
    from jerichoci.layout import StateLayout
    from jerichoci.record import RunRecord

KIND_CODES = {
    FailureKind.TEST_FAILURE: EXIT_TEST_FAILURE,
    FailureKind.TIMEOUT: EXIT_TIMEOUT,
    FailureKind.INFRASTRUCTURE: EXIT_INFRASTRUCTURE,
}


def exit_code(record: RunRecord) -> int:
    """The contract's exit code of a terminal record."""
    match record.status:
        case Status.PASSED | Status.SKIPPED:
            return EXIT_PASSED
        case Status.CANCELLED:
            return EXIT_CANCELLED
        case _:
            return KIND_CODES[record.failure_kind or FailureKind.INFRASTRUCTURE]


@contextmanager
def open_sinks(output: str, state: StateLayout, *, print_logs: bool) -> Iterator[list[Sink]]:
    """The sinks for an `--output`, released at the end."""
    with ExitStack() as held:
        sinks: list[Sink] = []
        if output == "jsonl":
            from pikaci.render.data import JsonLines

            sinks.append(JsonLines(sys.stdout))
        if output == "json":
            from pikaci.render.data import FinalRecord

            sinks.append(FinalRecord(sys.stdout))
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not print_logs:
            from pikaci.render.terminal import terminal

            sinks.append(held.enter_context(terminal(state)))
        else:
            from pikaci.render.plain import plain

            sinks.append(held.enter_context(plain(state, print_logs=print_logs)))
        yield sinks
