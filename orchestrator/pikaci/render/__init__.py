"""Shows a run while it runs: sinks of one event stream.

stdout carries data only (`json`, `jsonl`). Text for people goes to stderr: live on a terminal, one
line for each event elsewhere.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from pikaci.render.feed import Feed, Out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jerichoci.state.layout import StateLayout
    from pikaci.render.feed import View


@contextmanager
def open_feeds(output: str, state: StateLayout, *, print_logs: bool) -> Iterator[list[Feed]]:
    """What shows a run with an `--output`, the last one to people. At the end, all is written."""
    views = [(sys.stderr, "stderr", _people(state, print_logs=print_logs))]
    if output != "human":
        from pikaci.render.data import FinalRecord, JsonLines

        views.insert(0, (sys.stdout, "stdout", JsonLines if output == "jsonl" else FinalRecord))
    with ExitStack() as held:
        yield [
            held.enter_context(closing(Feed(Out(stream, name), view)))
            for stream, name, view in views
        ]


def _people(state: StateLayout, *, print_logs: bool) -> Callable[[Out], View]:
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not print_logs:
        from pikaci.render.terminal import terminal

        return partial(terminal, state)
    from pikaci.render.plain import Plain

    return partial(Plain, state, print_logs=print_logs)
