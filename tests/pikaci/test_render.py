from __future__ import annotations

import json
import os
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jerichoci.errors import InfrastructureError
from jerichoci.record.event import (
    EventBase,
    Heartbeat,
    JobStarted,
    PrepareFinished,
    PrepareStarted,
    RunFinished,
    RunStarted,
)
from jerichoci.state.layout import StateLayout
from jerichoci.status import Outcome
from pikaci.render import feed
from pikaci.render.ci.actions import Actions
from pikaci.render.ci.view import ServerLog
from pikaci.render.feed import Feed, JsonLines, Out
from pikaci.render.plain import Plain
from plans import RUN_ID, job, plan
from records import first_record

if TYPE_CHECKING:
    from collections.abc import Callable

MORE_THAN_A_PIPE_HOLDS = 1_000
TEXT = "→ ✔ 日本"


class Pipe:
    """A pipe whose reader sleeps until it is asked to read."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.writer = os.fdopen(writer, "w", encoding="latin-1")

    def out(self) -> Out:
        """The writing end for a feed; once that closes it, the reader sees the end."""
        out = Out(self.writer, "stdout")
        self.writer.close()
        return out

    def read(self) -> bytes:
        with os.fdopen(self.reader, "rb") as file:
            return file.read()


def beat(number: int) -> EventBase:
    return Heartbeat(running=["it" * 30] * 4).with_(seq=number)


def tell_much(sink: Feed) -> None:
    for number in range(MORE_THAN_A_PIPE_HOLDS):
        sink.emit(beat(number))


def started(snapshot: str = "", *jobs: str) -> RunStarted:
    run = first_record(StateLayout(Path("nowhere")), plan(*map(job, jobs)))
    return RunStarted(run=run.with_(snapshot_id=snapshot))


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_is_slow_gets_every_line_in_order(
    blocking: bool,  # noqa: FBT001 - a column of the table
) -> None:
    pipe = Pipe()
    os.set_blocking(pipe.writer.fileno(), blocking)
    told: list[bytes] = []
    reader = threading.Thread(target=lambda: told.extend(pipe.read().splitlines()))
    with closing(Feed(pipe.out(), JsonLines)) as told_by:
        tell_much(told_by)
        reader.start()
    reader.join()
    assert [json.loads(line)["seq"] for line in told] == list(range(MORE_THAN_A_PIPE_HOLDS))


def test_a_reader_that_sleeps_is_told_no_more_once_too_much_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "WAITING_EVENTS", 10)
    pipe = Pipe()
    told_by = Feed(pipe.out(), JsonLines)
    with pytest.raises(InfrastructureError, match="stdout is not being read"):
        tell_much(told_by)
    told_by.stopping()
    os.close(pipe.reader)
    told_by.close()


def test_a_reader_that_sleeps_at_the_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(feed, "STALLED_SECS", 0.2)
    pipe = Pipe()
    with closing(Feed(pipe.out(), JsonLines)) as told_by:
        tell_much(told_by)
    assert (
        capfd.readouterr().err == "pikaci: stdout is not being read; the last output was dropped\n"
    )
    os.close(pipe.reader)


def test_a_reader_that_went_away_gets_nothing_without_a_complaint(
    capfd: pytest.CaptureFixture[str],
) -> None:
    pipe = Pipe()
    os.close(pipe.reader)
    with closing(Feed(pipe.out(), JsonLines)) as told_by:
        tell_much(told_by)
    assert capfd.readouterr().err == ""


def test_a_view_that_fails_says_so_and_ends_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(_out: Out) -> JsonLines:
        raise RuntimeError("no such view")

    pipe = Pipe()
    with closing(Feed(pipe.out(), broken)) as told_by:
        told_by.emit(beat(0))
    assert capfd.readouterr().err == "pikaci: stopped writing to stdout: no such view\n"
    assert pipe.read() == b""


def test_json_is_utf_8_whatever_the_stream_says() -> None:
    pipe = Pipe()
    with closing(Feed(pipe.out(), JsonLines)) as told_by:
        told_by.emit(started(TEXT))
    assert TEXT.encode() in pipe.read()


def test_people_see_an_escape_for_what_their_encoding_lacks(tmp_path: Path) -> None:
    pipe = Pipe()
    view = partial(Plain, StateLayout(tmp_path), print_logs=False)
    with closing(Feed(pipe.out(), view)) as shown:
        shown.emit(started("→é"))
    assert b"snapshot \\u2192\xe9\n" in pipe.read()


@pytest.mark.parametrize("shown", [Plain, partial(ServerLog, markup=Actions())])
def test_a_line_every_30_s_names_what_runs_and_for_how_long(
    tmp_path: Path, shown: Callable[..., Plain]
) -> None:
    now = 0.0
    pipe = Pipe()
    out = pipe.out()

    def tick(*times: float) -> None:
        nonlocal now
        for time in times:
            now = time
            view.tick()

    view = shown(StateLayout(tmp_path), out, print_logs=False, clock=lambda: now)
    view.emit(started("", *"abcdefghij"))
    view.emit(PrepareStarted(run_id=RUN_ID, node_id="deps"))
    tick(29.0, 30.0, 59.0)
    done: Any = {"outcome": Outcome.PASSED, "cached": False, "duration_ms": 1}
    view.emit(PrepareFinished(run_id=RUN_ID, node_id="deps", **done))
    tick(60.0, 61.0)
    for name in "abcdefghi":
        view.emit(JobStarted(run_id=RUN_ID, job_id=name, attempt=1))
    tick(185.0)
    view.emit(RunFinished(run=started().run))
    tick(999.0)
    out.close()
    told = [line for line in pipe.read().decode().splitlines() if "still" in line or "wait" in line]
    waiting = ", ".join(f"job {name} (1 min 00 s)" for name in "abcdefgh")
    running = ", ".join(f"job {name} (2 min 04 s)" for name in "abcdefgh")
    assert told == [
        "pikaci: still running: prepare deps (30.0 s); 0 of 10 jobs done",
        f"pikaci: waiting to start: {waiting}, 2 more; 0 of 10 jobs done",
        f"pikaci: still running: {running}, 1 more; 0 of 10 jobs done",
    ]
