"""Following the logs of running jobs, for those who want to see everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.lines import LineSplitter
from jerichoci.log import read_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

CHUNK_BYTES = 1024 * 1024


class Tail:
    """One log, read on from where it was read to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._lines = LineSplitter()

    def step(self) -> list[bytes] | None:
        """The next lines; None at the log's end."""
        chunk = read_log(self.path, self._offset, CHUNK_BYTES)
        self._offset = chunk.next_offset
        return self._lines.feed(chunk.data) if chunk.data else None

    def end(self) -> list[bytes]:
        """The unfinished last line."""
        return self._lines.end()


class Tails:
    """The logs being followed; each line goes to `show` with its job's id."""

    def __init__(self, show: Callable[[str, str], None]) -> None:
        self._show = show
        self._tails: dict[str, list[Tail]] = {}

    def follow(self, job_id: str, paths: Sequence[Path]) -> None:
        """Follow a job's logs from their beginning, once its former logs are shown."""
        if [tail.path for tail in self._tails.get(job_id, [])] == list(paths):
            return
        self.drain(job_id)
        self._tails[job_id] = [Tail(path) for path in paths]

    def drain(self, job_id: str) -> None:
        """Show all that is there of a job's logs, the unfinished last lines too."""
        for tail in self._tails.pop(job_id, []):
            while (lines := tail.step()) is not None:
                self._show_all(job_id, lines)
            self._show_all(job_id, tail.end())

    def poll(self) -> None:
        """Show what is new everywhere, a limited piece of each log."""
        for job_id, tails in self._tails.items():
            for tail in tails:
                self._show_all(job_id, tail.step() or [])

    def _show_all(self, job_id: str, lines: Iterable[bytes]) -> None:
        for line in lines:
            self._show(job_id, line.decode("utf-8", "replace"))
