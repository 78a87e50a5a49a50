"""Following the host logs of running jobs, for those who want to see everything."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jerichoci.log import read_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POLL_SECS = 0.1
CHUNK_BYTES = 1024 * 1024
THREAD_DEADLINE_SECS = 60.0
"""For printing what is left; a reader that takes longer has gone away."""


class Tails:
    """The logs being followed; each whole line goes to `show` with its job's id."""

    def __init__(self, show: Callable[[str, str], None]) -> None:
        self._show = show
        self._lock = threading.Lock()
        self._places: dict[str, tuple[Path, int, bytes]] = {}

    def follow(self, job_id: str, path: Path) -> None:
        """Follow a job's log from its beginning."""
        with self._lock:
            if job_id not in self._places or self._places[job_id][0] != path:
                self._places[job_id] = (path, 0, b"")

    def drain(self, job_id: str) -> None:
        """Show all that is there of a job's log, the unfinished last line too."""
        with self._lock:
            if job_id not in self._places:
                return
            while self._step(job_id):
                pass
            _path, _offset, rest = self._places.pop(job_id)
            if rest:
                self._show(job_id, rest.decode("utf-8", "replace"))

    def poll(self) -> None:
        """Show what is new everywhere."""
        with self._lock:
            for job_id in list(self._places):
                self._step(job_id)

    def _step(self, job_id: str) -> bool:
        path, offset, rest = self._places[job_id]
        chunk = read_log(path, offset, CHUNK_BYTES)
        *lines, rest = (rest + chunk.data).split(b"\n")
        self._places[job_id] = (path, chunk.next_offset, rest)
        for line in lines:
            self._show(job_id, line.decode("utf-8", "replace"))
        return bool(chunk.data)


@contextmanager
def tailing(show: Callable[[str, str], None]) -> Iterator[Tails]:
    """Tails that a thread polls."""
    tails = Tails(show)
    over = threading.Event()

    def poll() -> None:
        while not over.wait(POLL_SECS):
            tails.poll()

    thread = threading.Thread(target=poll, name="pikaci-tails", daemon=True)
    thread.start()
    try:
        yield tails
    finally:
        over.set()
        thread.join(THREAD_DEADLINE_SECS)
