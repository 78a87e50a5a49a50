"""Logs by byte offsets: what a lost connection had not brought is asked for again."""

from __future__ import annotations

import codecs
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ph.errors import UsageError
from ph.forge import OVER, Json, rows
from ph.screen import LogFilter, note

if TYPE_CHECKING:
    from ph.server import Server

CHUNK_BYTES = 1024 * 1024
LOOK_SECS = 0.2
WAIT_SECS = 1.0
KINDS = ("host", "guest")


@dataclass
class Log:
    """One log file of an attempt at a lane, read from `offset` on."""

    server: Server
    lane: int
    query: dict[str, object]
    offset: int = 0
    is_over: bool = False
    """What was read last was the last that will ever be there."""
    job_attempt: str | None = None

    def read(self) -> bytes:
        """The next part; empty if there is none, or none yet."""
        answer = self.server.get_bytes(
            f"lanes/{self.lane}/log",
            offset=self.offset,
            limit=CHUNK_BYTES,
            job_attempt=self.job_attempt,
            **self.query,
        )
        headers = answer.headers
        self.offset = int(headers.get("x-next-offset", self.offset + len(answer.body)))
        self.is_over = headers.get("x-over") == "true"
        self.job_attempt = headers.get("x-job-attempt", self.job_attempt)
        return answer.body

    def next_try(self) -> Log | None:
        """The log of the job's newest try, if that is another one."""
        newest = Log(self.server, self.lane, self.query)
        newest.read()
        if newest.job_attempt == self.job_attempt:
            return None
        return Log(self.server, self.lane, self.query, job_attempt=newest.job_attempt)


@dataclass
class Screen:
    """Where logs are printed: to a terminal without what would control it, else byte by byte."""

    _is_terminal: bool = field(default_factory=lambda: bool(sys.stdout.isatty()))
    _filter: LogFilter = field(default_factory=LogFilter)
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def show(self, data: bytes) -> None:
        """Print a part."""
        if self._is_terminal:
            self._write(self._filter.feed(self._decoder.decode(data)))
        else:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def end(self) -> None:
        """Print what was kept of a sequence that never ended."""
        if self._is_terminal:
            self._write(self._filter.feed(self._decoder.decode(b"", final=True)))
            self._write(self._filter.end())

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


@dataclass
class Follower:
    """Follows the attempts of a lane one after the other, or the one that is asked for."""

    server: Server
    lane: Json
    query: dict[str, object]
    asked: int | None
    screen: Screen

    def follow(self, offset: int) -> None:
        """Print what comes until the lane is over."""
        attempt = self.asked or newest_attempt(self.lane)
        is_new = attempt > 0
        if not is_new:
            lane = self.lane
            note(f"{lane.get('name')} {lane.get('state')}: {lane.get('sentence')}")
        while True:
            if is_new:
                self._follow_attempt(attempt, offset)
            self.lane = self.server.get(f"lanes/{self.lane['id']}")["lane"]
            newest = newest_attempt(self.lane)
            is_new = newest > attempt and self.asked is None
            if is_new:
                if attempt:
                    note(f"attempt {newest} of {self.lane.get('name')}")
                attempt, offset = newest, 0
            elif self.asked is not None or self.lane.get("state") in OVER:
                return
            else:
                time.sleep(WAIT_SECS)

    def _follow_attempt(self, attempt: int, offset: int) -> None:
        """Follow the host's and the guest's log side by side, each by its own offset."""
        kinds = [self.query["kind"]] if self.query.get("kind") in KINDS else KINDS
        lane = int(self.lane["id"])
        query = {**self.query, "attempt": attempt}
        logs = [Log(self.server, lane, {**query, "kind": kind}, offset) for kind in kinds]
        while logs:
            found = [self._step(log) for log in logs]
            left = [log for log, data in zip(logs, found, strict=True) if data or not log.is_over]
            ended = [log for log in logs if log not in left]
            logs = left + [log for each in ended if (log := each.next_try()) is not None]
            if logs and not any(found):
                time.sleep(LOOK_SECS)

    def _step(self, log: Log) -> bytes:
        try:
            data = log.read()
        except UsageError:
            self.lane = self.server.get(f"lanes/{self.lane['id']}")["lane"]
            if self.lane.get("state") in OVER:
                raise
            return b""  # the run has no job yet
        self.screen.show(data)
        return data


def newest_attempt(lane: Json) -> int:
    """The number of a lane's newest attempt; 0 if it has had none."""
    return max((int(each.get("number") or 0) for each in rows(lane, "attempts")), default=0)
