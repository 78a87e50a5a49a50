"""Reading the logs of a run's jobs for people: who printed each line, job or prepare.

A host log has the output of the prepares first (`ID> line`), then that of the job; pikaci's own
lines in it are also events.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from jerichoci.state.ids import is_id
from jerichoci.state.line_splitter import LineCutter
from jerichoci.state.log_file import log_metadata, read_log
from jerichoci.status import PhaseName
from pikaci.screen import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

CHUNK_BYTES = 1024 * 1024
FIRST_LINES = 5
LAST_LINES = 20
LONGEST = 2000
"""Characters of a line that an excerpt shows."""
HOST = "pikaci> "
"""Begins what the host did, in a host log."""
BEGUN = f"{HOST}{PhaseName.PREPARE_DIRECTORIES} "
"""From here on a host log has what the job prints."""

Said = tuple[str, str]
"""Who printed a line, and the line."""


class Log:
    """One log of a job, read on from where it was read to."""

    def __init__(self, path: Path, job_id: str) -> None:
        self.path = path
        self._job_id = job_id
        self._is_host = path.name == "host.log"
        self._speaker = "" if self._is_host else job_id
        self._offset = 0
        self._lines = LineCutter()

    def step(self) -> list[Said] | None:
        """The next lines; None at the log's end."""
        chunk = read_log(self.path, self._offset, CHUNK_BYTES)
        self._offset = chunk.next_offset
        return list(self._heard(self._lines.feed(chunk.data))) if chunk.data else None

    def skip(self) -> int:
        """Go on near the log's end; how many lines that passes over."""
        passed = 0
        end = log_metadata(self._job_id, "", self.path).bytes - CHUNK_BYTES
        while self._offset < end:
            chunk = read_log(self.path, self._offset, min(CHUNK_BYTES, end - self._offset))
            passed += chunk.data.count(b"\n")
            self._offset = chunk.next_offset
            self._lines = LineCutter()
        return passed

    def rest(self) -> Iterator[Said]:
        """All that is there, and is not read yet."""
        while (said := self.step()) is not None:
            yield from said
        yield from self._heard(self._lines.end())

    def _heard(self, lines: Iterable[bytes]) -> Iterator[Said]:
        for raw in lines:
            line = raw.decode("utf-8", "replace")
            if self._is_host and line.startswith(HOST):
                if line.startswith(BEGUN):
                    self._speaker = self._job_id
                continue
            if self._speaker != self._job_id:
                name, mark, text = line.partition("> ")
                if mark and is_id(name):
                    self._speaker, line = name, text
            yield self._speaker, line


def excerpt(directory: Path, job_id: str, speaker: str) -> Iterator[str]:
    """The first and the last lines that a job, or a prepare it needs, printed in an attempt."""
    for name in ("guest.log", "host.log"):
        first: list[str] = []
        last: deque[str] = deque(maxlen=LAST_LINES)
        count = 0
        log = Log(directory / name, job_id)
        for who, line in log.rest():
            if who == speaker:
                count += 1
                (first if count <= FIRST_LINES else last).append(line)
                if count == FIRST_LINES and speaker == job_id:
                    # There may be gigabytes before the last lines.
                    count += log.skip()
        if count:
            break
    yield from map(cut, first)
    if left_out := count - len(first) - len(last):
        yield f"... {left_out} line{'s' if left_out > 1 else ''} ..."
    yield from map(cut, last)


def cut(line: str, *, colours: bool = True) -> str:
    """A line as a screen shows it; of a long one the begin."""
    text = shown(line, colours=colours)
    if len(text) <= LONGEST:
        return text
    more = len(shown(text)) - LONGEST
    return f"{shown(text)[:LONGEST]} ... {more} more characters" if more > 0 else text


class Tails:
    """The logs being followed; each line goes to `show` with the id of who printed it."""

    def __init__(self, show: Callable[[str, str], None]) -> None:
        self._show = show
        self._logs: dict[str, list[Log]] = {}
        self._told_by: dict[str, str] = {}
        self._unfinished: set[str] = set()

    def follow(self, job_id: str, directory: Path) -> None:
        """Follow the logs of a job's attempt, once its former logs are shown."""
        logs = self._logs.get(job_id)
        if logs and logs[0].path.parent == directory:
            return
        self.end(job_id)
        names = ("host.log", "guest.log")
        self._logs[job_id] = [Log(directory / name, job_id) for name in names]

    def follow_prepare(self, speaker: str, job_id: str, directory: Path) -> None:
        """Follow a prepare in the log of one of the jobs that need it."""
        self._told_by[speaker] = job_id
        self._unfinished.add(speaker)
        if job_id not in self._logs:
            self.follow(job_id, directory)

    def leave_out(self, speaker: str) -> None:
        """Show nothing of a prepare: it is followed elsewhere."""
        self._told_by[speaker] = ""

    def end_prepare(self, speaker: str) -> None:
        """Show all that a prepare has printed."""
        self._unfinished.discard(speaker)
        job_id = self._told_by.get(speaker, "")
        for log in self._logs.get(job_id, []):
            while (said := log.step()) is not None:
                self._show_all(job_id, said)

    def end(self, job_id: str) -> None:
        """Show all that is there of a job's logs, the unfinished last lines too."""
        for log in self._logs.get(job_id, []):
            self._show_all(job_id, log.rest())
        # A job may fail while other prepares that it needs are still being made.
        if job_id not in {self._told_by[speaker] for speaker in self._unfinished}:
            self._logs.pop(job_id, None)

    def poll(self) -> None:
        """Show what is new everywhere, a limited piece of each log."""
        for job_id, logs in self._logs.items():
            for log in logs:
                self._show_all(job_id, log.step() or [])

    def _show_all(self, job_id: str, said: Iterable[Said]) -> None:
        for speaker, line in said:
            if speaker and self._told_by.get(speaker, job_id) == job_id:
                self._show(speaker, line)
