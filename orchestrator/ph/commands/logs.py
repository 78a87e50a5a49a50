"""`ph logs`."""

from __future__ import annotations

import codecs
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from ph import options
from ph.forge import OVER, find_lane, rows
from ph.screen import LogFilter, note, print_json
from ph.server import Server, connect

if TYPE_CHECKING:
    from ph.forge import Json

CHUNK_BYTES = 1024 * 1024
LOOK_SECS = 0.2
WAIT_SECS = 1.0


def _is_terminal() -> bool:
    return sys.stdout.isatty()


@dataclass
class Follower:
    """Prints a log from an offset on: what a lost connection had not brought is asked for again."""

    server: Server
    lane: int
    query: dict[str, object]
    offset: int = 0
    is_over: bool = False
    _is_terminal: bool = field(default_factory=_is_terminal)
    _filter: LogFilter = field(default_factory=LogFilter)
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def read(self, attempt: int | None) -> bytes:
        """The next part. `is_over`: it was the last that will ever be there."""
        answer = self.server.get_bytes(
            f"lanes/{self.lane}/log",
            offset=self.offset,
            limit=CHUNK_BYTES,
            attempt=attempt,
            **self.query,
        )
        self.offset = int(answer.headers.get("x-next-offset", self.offset + len(answer.body)))
        self.is_over = answer.headers.get("x-over", "").lower() in {"1", "true", "yes"}
        return answer.body

    def show(self, data: bytes) -> None:
        """Print it: to a terminal without what would control it, else as it is."""
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


@click.command("logs")
@options.of_a_lane
@click.option("-f", "--follow", is_flag=True, help="Go on until the lane has ended.")
@click.option("--job", metavar="JOB", help="The job; by default the first that failed, or runs.")
@click.option("--kind", type=click.Choice(["host", "guest", "both"]), help="Which log of it.")
@click.option("--attempt", type=int, metavar="N", help="The attempt; by default the newest.")
@click.option("--offset", type=int, default=0, metavar="BYTES", help="Begin there.")
def logs_command(
    lane: str,
    branch: str | None,
    repo: str | None,
    job: str | None,
    kind: str | None,
    attempt: int | None,
    offset: int,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Print the log of a lane.

    To a terminal, what would control it is left out; into a file or a pipe go the very bytes.
    """
    server = connect(patient=follow)
    _, found = find_lane(server, lane, branch, repo)
    follower = Follower(server, int(found["id"]), {"job": job, "kind": kind}, offset)
    if as_json:
        data = follower.read(attempt)
        text = data.decode("utf-8", "backslashreplace")
        print_json({"lane": follower.lane, "offset": offset, "text": text, **_place(follower)})
        return
    if follow:
        _follow(follower, found, attempt)
    else:
        while data := follower.read(attempt):
            follower.show(data)
    follower.end()


def _place(follower: Follower) -> dict[str, object]:
    return {"next_offset": follower.offset, "is_over": follower.is_over}


def _follow(follower: Follower, lane: Json, asked: int | None) -> None:
    """Follow the attempts of a lane, one after the other, unless one is asked for."""
    attempt = asked or _newest(lane)
    if attempt == 0:
        note(f"{lane.get('name')} {lane.get('state')}: {lane.get('sentence')}")
    while True:
        if attempt:
            data = follower.read(attempt)
            follower.show(data)
            if data or not follower.is_over:
                time.sleep(0 if data else LOOK_SECS)
                continue
        lane = follower.server.get(f"lanes/{follower.lane}")["lane"]
        newest = _newest(lane)
        if newest > attempt and asked is None:
            if attempt:
                note(f"attempt {newest} of {lane.get('name')}")
            attempt, follower.offset = newest, 0
        elif asked is not None or lane.get("state") in OVER:
            return
        else:
            time.sleep(WAIT_SECS)


def _newest(lane: Json) -> int:
    return max((int(each.get("number") or 0) for each in rows(lane, "attempts")), default=0)
