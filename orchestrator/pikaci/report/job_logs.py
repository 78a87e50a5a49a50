"""The logs of a job as a page has them: what its prepares printed, and one log for each attempt.

What a prepare printed is in the logs of all jobs that need it; a page has it once, with the first.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from jerichoci.state.dataclass import dataclass
from jerichoci.state.line_splitter import LineSplitter
from jerichoci.status import LogKind
from pikaci.printed import LogReader, Split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from jerichoci.record.store import RunStore


@dataclass(frozen=True)
class JobLog:
    """A log on a page: its lines are counted from `first`; `pieces` can be read once."""

    name: str
    """`prepares`, or the number of the attempt."""
    title: str
    first: int
    is_last: bool
    """Whether it is of the last attempt."""
    pieces: Iterable[bytes]


@dataclass
class JobLogs:
    """What of the logs of a job there is to show."""

    store: RunStore
    run_id: str
    job_id: str
    told_before: AbstractSet[str] = frozenset()
    """The names of prepares whose output is with a job before."""

    def __iter__(self) -> Iterator[JobLog]:
        """The logs in which something was printed. Each has to be read before the next."""
        last = int(self._path(LogKind.HOST).parent.name)
        for attempt in range(1, last + 1):
            host = LogReader(partial(self._path, LogKind.HOST, attempt), is_cut=True)
            guest = LogReader(partial(self._path, LogKind.GUEST, attempt), is_cut=False)
            split = Split(host)
            prepares = _some(self._untold(split.before()))
            if prepares:
                title = f"what the prepares of {self.job_id} printed"
                yield JobLog(f"prepares-{attempt}", title, 1, attempt == last, prepares)
            lines = split.skip()
            title = f"log of {self.job_id}" + (f", attempt {attempt} of {last}" if last > 1 else "")
            if pieces := _some(chain(split.after(), guest.rest())):
                yield JobLog(f"{attempt}", title, lines + 1, attempt == last, pieces)

    def _path(self, kind: LogKind, attempt: int | None = None) -> Path:
        return self.store.log_path(self.run_id, self.job_id, kind, attempt)

    def _untold(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        if not self.told_before:
            yield from pieces
            return
        told = {f"{name}> ".encode() for name in self.told_before}
        lines = LineSplitter()
        for piece in chain(pieces, [b"\n"]):
            kept = (row for row in lines.feed(piece) if row[: row.find(b"> ") + 2] not in told)
            yield b"".join(row + b"\n" for row in kept if row)


def _some(pieces: Iterator[bytes]) -> Iterator[bytes] | None:
    """The pieces, if there is anything in them."""
    first = next(filter(None, pieces), None)
    return chain([first], pieces) if first else None
