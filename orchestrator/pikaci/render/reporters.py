"""What hears of runs: the views of stderr and stdout, and the files that are written at the end."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from jerichoci.state.dataclass import dataclass
from pikaci.render.ci.formats import LogFormat, markup
from pikaci.render.ci.guard import guarding, shown_as
from pikaci.render.feed import Feed, FinalRecords, JsonLines, Out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jerichoci.record.journal import Sink
    from jerichoci.state.layout import StateLayout
    from pikaci.render.ci.step_summary import StepSummary
    from pikaci.render.feed import View


class Reporters:
    """The sinks of runs; `stopping` has the view for people say that the runs are being stopped."""

    def __init__(self, people: Feed, others: list[Sink]) -> None:
        self.sinks: list[Sink] = [people, *others]
        self.stopping = people.stopping


@dataclass(frozen=True)
class Asked:
    """The options of runs that are about their reports."""

    output: str
    log_format: str
    junit: Path | None
    print_logs: bool


@contextmanager
def reporting(state: StateLayout, batch: str | None, asked: Asked) -> Iterator[Reporters]:
    """What reports runs. At the end, all is written."""
    shown = shown_as(asked.log_format)
    people = _for_people(shown, asked.output)
    with ExitStack() as held:
        others: list[Sink] = []
        if shown in {LogFormat.GITHUB, LogFormat.FORGEJO}:
            others += map(held.enter_context, _summaries(state))
        if asked.junit is not None:
            from pikaci.render.junit import JunitFile

            others.append(held.enter_context(closing(JunitFile(asked.junit, state))))
        if asked.output != "human":
            records = JsonLines if asked.output == "jsonl" else partial(FinalRecords, batch=batch)
            feed = Feed(Out(sys.stdout, "stdout"), records)
            others.append(held.enter_context(closing(feed)))
        feed = Feed(people, _view(state, shown, print_logs=asked.print_logs))
        yield Reporters(held.enter_context(closing(feed)), others)


def _for_people(shown: LogFormat, output: str) -> Out:
    if shown is LogFormat.TEAMCITY and output == "human":
        return Out(sys.stdout, "stdout")  # TeamCity reads no messages on stderr.
    if shown is LogFormat.PLAIN and (words := guarding(shown)):
        from pikaci.render.ci.guarded_out import GuardedOut

        return GuardedOut(sys.stderr, "stderr", words)
    return Out(sys.stderr, "stderr")


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
