"""Which log of a lane to show, and the parts of it that fit on a page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jerichoci import RunStore
    from pika_git.forge_service.model import JobLine, Recorded, Source

HEAD_BYTES = 24 * 1024
TAIL_BYTES = 48 * 1024
PART_BYTES = 64 * 1024
LINE_BYTES = 8 * 1024
"""How far a part may begin or end away from where it was asked to, to do so at a line's end."""
ORDER = ("failed", "running", "cancelled", "passed", "skipped")


@dataclass(frozen=True)
class Part:
    """Bytes of a log from `offset`."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.offset + len(self.data)


@dataclass(frozen=True)
class LogView:
    """A log, or the parts of it that are shown; more may come if `is_live`."""

    lane_id: int
    attempt: int
    job: str
    kind: str
    job_attempt: int
    size: int
    is_live: bool
    parts: tuple[Part, ...]


def choose(
    found: Recorded, job: str | None = None, kind: str | None = None
) -> tuple[str, str] | None:
    """The job and kind of the log to show: the first that failed or runs, and its guest's log."""
    jobs = [each for each in found.jobs if job in {None, each.id}]
    jobs.sort(key=lambda each: ORDER.index(each.status) if each.status in ORDER else 0)
    for each in jobs:
        if kind in {"host", "guest"}:
            return each.id, str(kind)
        if (best := _best(each)) is not None:
            return each.id, best
    return None


def _best(job: JobLine) -> str | None:
    sizes = {log.kind: log.bytes for log in job.logs}
    if not sizes:
        return None
    return "guest" if sizes.get("guest") else "host"


@dataclass(frozen=True)
class Logs:
    """The logs of one attempt at a lane."""

    source: Source
    repo_id: int | None
    lane_id: int
    found: Recorded

    def ends(self, job: str | None = None, kind: str | None = None) -> LogView | None:
        """The beginning and the end of a log; None if there is none to show."""
        chosen = choose(self.found, job, kind)
        if chosen is None:
            return None
        size = self._size(*chosen)
        if size <= HEAD_BYTES + TAIL_BYTES:
            parts = [Part(0, self._read(*chosen, 0, size))]
        else:
            head = _cut(self._read(*chosen, 0, HEAD_BYTES))
            begin = size - TAIL_BYTES
            begin += _to_next_line(self._read(*chosen, begin, LINE_BYTES))
            parts = [Part(0, head), Part(begin, self._read(*chosen, begin, TAIL_BYTES))]
        if self.found.status == "running":  # what is half printed comes whole by the stream
            parts[-1] = Part(parts[-1].offset, _cut(parts[-1].data))
        return self._view(*chosen, size, *parts)

    def tail(self, lines: int) -> LogView | None:
        """The last lines of the log that is the most telling; None if there is none."""
        chosen = choose(self.found)
        if chosen is None:
            return None
        size = self._size(*chosen)
        begin = max(0, size - LINE_BYTES)
        data = self._read(*chosen, begin, LINE_BYTES)
        if begin:
            skipped = _to_next_line(data)
            begin, data = begin + skipped, data[skipped:]
        kept = re.findall(rb"[^\n]*\n|[^\n]+", data)[-lines:]
        part = Part(begin + len(data) - sum(map(len, kept)), b"".join(kept))
        if self.found.status == "running":
            part = Part(part.offset, _cut(part.data))
        return self._view(*chosen, size, part)

    def part(self, job: str, kind: str, offset: int) -> LogView | None:
        """A part of a log from `offset` on, cut at a line's end; None if there is no such log."""
        if job not in {each.id for each in self.found.jobs} or kind not in {"host", "guest"}:
            return None
        size = self._size(job, kind)
        offset = max(0, min(offset, size))
        data = self._read(job, kind, offset, PART_BYTES)
        return self._view(job, kind, size, Part(offset, _cut(data)))

    def _view(self, job: str, kind: str, size: int, *parts: Part) -> LogView:
        is_live = self.found.status == "running"
        tries = [each.tries for each in self.found.jobs if each.id == job]
        number, job_attempt = self.found.attempt.number, max([1, *tries])
        return LogView(self.lane_id, number, job, kind, job_attempt, size, is_live, tuple(parts))

    def _store(self) -> RunStore:
        from jerichoci import RunStore

        return RunStore(self.source.data.state_root(self.repo_id or 0))

    def _size(self, job: str, kind: str) -> int:
        from jerichoci import LogKind, PikaciError

        run_id = self.found.attempt.pikaci_run_id
        try:
            return self._store().log_path(run_id, job, LogKind(kind)).lstat().st_size
        except (PikaciError, OSError, ValueError):
            return 0

    def _read(self, job: str, kind: str, offset: int, limit: int) -> bytes:
        from jerichoci import LogKind, PikaciError

        run_id = self.found.attempt.pikaci_run_id
        try:
            return self._store().load_logs(run_id, job, LogKind(kind), offset, limit).data
        except (PikaciError, OSError, ValueError) as error:
            return f"the log can't be read: {error}\n".encode()


def _cut(data: bytes) -> bytes:
    """Without the last line if that isn't whole, or is too long to be left out."""
    end = data.rfind(b"\n") + 1
    return data[:end] if end and len(data) - end <= LINE_BYTES else data


def _to_next_line(data: bytes) -> int:
    """How many bytes to the next line, 0 if that is too far away."""
    return data.find(b"\n") + 1
