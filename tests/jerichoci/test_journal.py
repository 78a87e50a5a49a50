from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from disk import fill
from jerichoci.record.dead import last_event
from jerichoci.record.event import EventBase, Heartbeat
from jerichoci.record.journal import Journal, cut_half_line
from jerichoci.state.layout import RunLayout
from plans import RUN_ID

if TYPE_CHECKING:
    from pathlib import Path


class Failing:
    """A sink that raises: its reader has gone, or there is a mistake in it."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.told = 0

    def emit(self, _event: EventBase) -> None:
        self.told += 1
        raise self.error


class Reader:
    """A sink that reads the file whenever it is told of an event."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen = 0

    def emit(self, event: EventBase) -> None:
        self.seen += 1
        assert f'"seq":{event.seq},' in self.path.read_text()


def seqs(path: Path) -> list[int]:
    return [json.loads(line)["seq"] for line in path.read_text().splitlines()]


def test_events_are_numbered_and_on_disk_before_sinks_get_them(tmp_path: Path) -> None:
    closed, reader = Failing(BrokenPipeError()), Reader(tmp_path / "events")
    with closing(Journal(reader.path, RUN_ID, [closed, reader])) as journal:
        for _ in range(3):
            journal.emit(Heartbeat(running=[]))
    assert seqs(reader.path) == [0, 1, 2]
    assert (closed.told, reader.seen) == (1, 3)


def test_a_sink_with_a_mistake_is_named_on_stderr_and_dropped(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(Journal(tmp_path / "events", RUN_ID, [Failing(KeyError("mistake"))])) as journal:
        journal.emit(Heartbeat(running=[]))
        journal.emit(Heartbeat(running=[]))
    assert seqs(tmp_path / "events") == [0, 1]
    said = "pikaci: stopped sending events to a listener: 'mistake'\n"
    assert capfd.readouterr().err == said


def test_where_there_is_no_stderr_a_sink_is_dropped_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    with closing(Journal(tmp_path / "events", RUN_ID, [Failing(KeyError("mistake"))])) as journal:
        journal.emit(Heartbeat(running=[]))
    assert seqs(tmp_path / "events") == [0]


def test_a_full_disk_leaves_no_half_line_and_no_gap(small_disk: Path) -> None:
    path = small_disk / "events"
    with closing(Journal(path, RUN_ID, [])) as journal:
        journal.emit(Heartbeat(running=[]))
        filler = fill(small_disk)
        with pytest.raises(OSError, match="No space left"):
            journal.emit(Heartbeat(running=["a" * 60] * 1000))
        assert seqs(path) == [0]
        filler.unlink()
        journal.emit(Heartbeat(running=[]))
    assert seqs(path) == [0, 1]


def test_the_last_event_is_the_last_whole_line(tmp_path: Path) -> None:
    run = RunLayout(tmp_path)
    half = '{"seq":0,"event":"a"}\n{"seq":1,"event":"b"}\n{"seq":2,"ev'
    run.events.write_text(half)
    assert last_event(run) == {"seq": 1, "event": "b"}
    assert run.events.read_text() == half
    cut_half_line(run.events)
    assert seqs(run.events) == [0, 1]


@pytest.mark.parametrize("text", [None, "", '{"seq":0', "\n", "null\n", '{"event":"a"}\n'])
def test_a_file_without_an_event_has_no_last_one(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "events.jsonl").write_text(text)
    assert last_event(RunLayout(tmp_path)) is None
