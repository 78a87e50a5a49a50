"""What hears of runs: the views of stderr and stdout, and the files that are written at the end."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from pikaci.render.ci.formats import LogFormat, markup
from pikaci.render.ci.guard import shown_as
from pikaci.render.feed import Feed, FinalRecords, JsonLines, Out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jerichoci.record.journal import Sink
    from jerichoci.state.layout import StateLayout
    from pikaci.render.ci.step_summary import StepSummary
    from pikaci.render.feed import View


class Reporters:
    """The sinks of runs; `stopping` has the view for people say that the runs are being stopped."""

    def __init__(self, people: Feed, others: list[Sink]) -> None:
        self.sinks: list[Sink] = [people, *others]
        self.stopping = people.stopping


@contextmanager
def reporting(
    state: StateLayout, batch: str | None, *, output: str, log_format: str, print_logs: bool
) -> Iterator[Reporters]:
    """What reports runs. At the end, all is written."""
    shown = shown_as(log_format)
    # TeamCity reads what is printed on stdout.
    is_out = shown is LogFormat.TEAMCITY and output == "human"
    people = Out(sys.stdout, "stdout") if is_out else Out(sys.stderr, "stderr")
    with ExitStack() as held:
        others: list[Sink] = []
        if shown in {LogFormat.GITHUB, LogFormat.FORGEJO}:
            others += map(held.enter_context, _summaries(state))
        if output != "human":
            records = JsonLines if output == "jsonl" else partial(FinalRecords, batch=batch)
            feed = Feed(Out(sys.stdout, "stdout"), records)
            others.append(held.enter_context(closing(feed)))
        feed = Feed(people, _view(state, shown, print_logs=print_logs))
        yield Reporters(held.enter_context(closing(feed)), others)


def _summaries(state: StateLayout) -> Iterator[closing[StepSummary]]:
    from pikaci.render.ci.step_summary import StepSummary, path_of

    if path := path_of(os.environ):
        yield closing(StepSummary(state, path))


def _view(state: StateLayout, shown: LogFormat, *, print_logs: bool) -> Callable[[Out], View]:
    if words := markup(shown):
        from pikaci.render.ci.view import ServerLog

        return partial(ServerLog, state, markup=words, print_logs=print_logs)
    if shown is LogFormat.TTY and not print_logs:
        from pikaci.render.terminal import terminal

        return partial(terminal, state)
    from pikaci.render.plain import Plain

    return partial(Plain, state, print_logs=print_logs)
