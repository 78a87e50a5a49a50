"""Shows a run while it runs: sinks of one event stream.

stdout carries data only (`json`, `jsonl`). Text for people goes to stderr: live on a terminal, one
line for each event elsewhere.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pikaci.render.feed import feeding
from pikaci.render.out import Out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from jerichoci.record.journal import Sink
    from jerichoci.state.layout import StateLayout
    from pikaci.render.feed import View

    Opening = Callable[[Out], AbstractContextManager[View]]


@dataclass(frozen=True)
class Reporter:
    """The sinks of a run's events, and what shows at once that the run is being stopped."""

    sinks: list[Sink]
    stopping: Callable[[], None]


@contextmanager
def open_reporter(output: str, state: StateLayout, *, print_logs: bool) -> Iterator[Reporter]:
    """The reporter for an `--output`; closed at the end."""
    with ExitStack() as held:
        feeds = []
        data = _data(output)
        if data:
            feeds.append(held.enter_context(feeding(Out(sys.stdout, "stdout"), data)))
        people = _people(state, print_logs=print_logs)
        human = held.enter_context(feeding(Out(sys.stderr, "stderr"), people))
        yield Reporter([*feeds, human], human.stopping)


def _data(output: str) -> Opening | None:
    if output == "human":
        return None
    from pikaci.render.data import final_record, json_lines

    return json_lines if output == "jsonl" else final_record


def _people(state: StateLayout, *, print_logs: bool) -> Opening:
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not print_logs:
        from pikaci.render.terminal import terminal

        return partial(terminal, state)
    from pikaci.render.plain import plain

    return partial(plain, state, print_logs=print_logs)
