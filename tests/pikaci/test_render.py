from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import InfrastructureError
from jerichoci.record.event import Heartbeat, RunStarted
from jerichoci.record.record import RunRecord, Tool
from jerichoci.state.layout import StateLayout
from jerichoci.status import Status
from pikaci.render import feed
from pikaci.render.data import json_lines
from pikaci.render.feed import Feed, feeding
from pikaci.render.out import Out
from pikaci.render.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jerichoci.record.event import EventBase
    from pikaci.render.data import JsonLines

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


def started(description: str = "") -> RunStarted:
    return RunStarted(
        run=RunRecord(
            run_id="20260131T235959Z-0123abcd",
            status=Status.RUNNING,
            target_id="hello",
            target_description=description,
            system="x86_64-linux",
            created_at="2026-01-31T23:59:59.000Z",
            plan_digest="0" * 64,
            snapshot_id=description,
            tool=Tool(version="0"),
        )
    )


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_is_slow_gets_every_line_in_order(
    blocking: bool,  # noqa: FBT001 - a column of the table
) -> None:
    pipe = Pipe()
    os.set_blocking(pipe.writer.fileno(), blocking)
    told: list[bytes] = []
    reader = threading.Thread(target=lambda: told.extend(pipe.read().splitlines()))
    with feeding(pipe.out(), json_lines) as told_by:
        tell_much(told_by)
        reader.start()
    reader.join()
    assert [json.loads(line)["seq"] for line in told] == list(range(MORE_THAN_A_PIPE_HOLDS))


def test_a_reader_that_sleeps_is_told_no_more_once_too_much_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "WAITING_EVENTS", 10)
    pipe = Pipe()
    told_by = Feed(pipe.out(), json_lines)
    with pytest.raises(InfrastructureError, match="nobody reads stdout"):
        tell_much(told_by)
    told_by.stopping()
    os.close(pipe.reader)
    told_by.close()


def test_a_reader_that_sleeps_at_the_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(feed, "STALLED_SECS", 0.2)
    pipe = Pipe()
    with feeding(pipe.out(), json_lines) as told_by:
        tell_much(told_by)
    assert capfd.readouterr().err == "pikaci: nobody reads stdout: the end is missing there\n"
    os.close(pipe.reader)


def test_a_reader_that_went_away_is_told_nothing_and_nobody_complains(
    capfd: pytest.CaptureFixture[str],
) -> None:
    pipe = Pipe()
    os.close(pipe.reader)
    with feeding(pipe.out(), json_lines) as told_by:
        tell_much(told_by)
    assert capfd.readouterr().err == ""


def test_a_view_that_fails_says_so_and_ends_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    @contextmanager
    def broken(_out: Out) -> Iterator[JsonLines]:
        raise RuntimeError("no such view")
        yield

    pipe = Pipe()
    with feeding(pipe.out(), broken) as told_by:
        told_by.emit(beat(0))
    assert capfd.readouterr().err == "pikaci: stdout says no more: no such view\n"
    assert pipe.read() == b""


def test_json_is_utf_8_whatever_the_stream_says() -> None:
    pipe = Pipe()
    with feeding(pipe.out(), json_lines) as told_by:
        told_by.emit(started(TEXT))
    assert TEXT.encode() in pipe.read()


def test_people_see_an_escape_for_what_their_encoding_lacks(tmp_path: Path) -> None:
    pipe = Pipe()
    view = partial(plain, StateLayout(tmp_path), print_logs=False)
    with feeding(pipe.out(), view) as shown:
        shown.emit(started("→é"))
    assert b"snapshot \\u2192\xe9\n" in pipe.read()
