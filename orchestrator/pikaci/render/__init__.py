"""How a run is shown while it runs: sinks of one event stream.

stdout carries data only (`json`, `jsonl`); what is for people goes to stderr, live on a terminal,
a line an event elsewhere.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
    from collections.abc import Callable, Iterator

    from jerichoci.journal import Sink
    from jerichoci.layout import StateLayout
    from jerichoci.record import RunRecord
    from pikaci.render.plain import Plain
    from pikaci.render.terminal import Terminal

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


@dataclass(frozen=True)
class Reporter:
    """Those who are told of a run's events, and who says at once that it was told to end."""

    sinks: list[Sink]
    stopping: Callable[[], None]


@contextmanager
def open_reporter(output: str, state: StateLayout, *, print_logs: bool) -> Iterator[Reporter]:
    """The reporter for an `--output`, released at the end."""
    with ExitStack() as held:
        sinks: list[Sink] = []
        if output == "jsonl":
            from pikaci.render.data import JsonLines

            sinks.append(JsonLines(sys.stdout))
        if output == "json":
            from pikaci.render.data import FinalRecord

            sinks.append(FinalRecord(sys.stdout))
        human: Terminal | Plain
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not print_logs:
            from pikaci.render.terminal import terminal

            human = held.enter_context(terminal(state))
        else:
            from pikaci.render.plain import plain

            human = held.enter_context(plain(state, print_logs=print_logs))
        yield Reporter([*sinks, human], human.stopping)
