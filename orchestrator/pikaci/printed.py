"""What jobs and prepares printed, without what pikaci says of itself in the same logs.

A host log has the output of the prepares first (`PREPARE> line`), then that of the job, byte for
byte. pikaci's own lines (`pikaci> ...`) are before the job and after it; two that end phases may be
within its output. A guest log has the job's output alone.
"""

from __future__ import annotations

import re
from dataclasses import field
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError
from jerichoci.state.dataclass import dataclass
from jerichoci.state.line_splitter import LINE_BYTES
from jerichoci.state.log_file import read_log
from jerichoci.state.reading import rows
from jerichoci.status import LogKind, PhaseName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from jerichoci.record.store import RunStore

CHUNK_BYTES = 4 * 1024 * 1024
OWN = b"pikaci> "
"""Begins pikaci's own lines in a host log."""
_ENDING = OWN + f"{PhaseName.WAIT_FOR_COMPLETION} ".encode()
"""Begins the one of them that ends what a job prints."""
_PHASE = re.compile(rb"([a-z_]+) [a-z]+ \([0-9]+ ms\)\n?")


class _Stage(Enum):
    PREPARES = auto()
    SET_UP = auto()
    JOB = auto()
    END = auto()


_NEXT = {
    (_Stage.PREPARES, PhaseName.PREPARE_DIRECTORIES.encode()): _Stage.SET_UP,
    (_Stage.SET_UP, PhaseName.LAUNCH_GUEST.encode()): _Stage.JOB,
    (_Stage.SET_UP, PhaseName.WAIT_FOR_COMPLETION.encode()): _Stage.END,
    (_Stage.JOB, PhaseName.WAIT_FOR_COMPLETION.encode()): _Stage.END,
}
"""The stage that the end of a phase begins."""


class Printed:
    """Takes a host log as its bytes come, and gives back what was printed by others than pikaci."""

    def __init__(self) -> None:
        self.begun: int | None = None
        """How much was given back before the job began; null as long as it has not."""
        self._stage = _Stage.PREPARES
        self._given = 0
        self._held = b""
        self._is_inside = False
        """Whether what comes next continues a line that was given back in part."""

    def feed(self, data: bytes) -> bytes:
        """What was printed up to here; a line that may be pikaci's is held back until its end."""
        if self._held:
            data, self._held = self._held + data, b""
        start = 0
        if self._is_inside:
            start = data.find(b"\n") + 1 or len(data)
            self._is_inside = data[start - 1 : start] != b"\n"
        end = max(start, data.rfind(b"\n") + 1)
        found = [self._give(data[:start]), *self._lines(data, start, end)]
        if end < len(data):
            rest = data[end:]
            if rest[: len(OWN)] == OWN[: len(rest)] and len(rest) <= LINE_BYTES:
                self._held = rest
            else:
                self._is_inside = True
                found.append(self._give(rest))
        return b"".join(filter(None, found))

    def end(self) -> bytes:
        """What was held back, if it was printed by others."""
        held, self._held = self._held, b""
        return b"".join(self._lines(held, 0, len(held)))

    def _lines(self, data: bytes, start: int, end: int) -> Iterator[bytes]:
        """What is given back of the lines from `start` to `end`."""
        while start < end:
            sought = _ENDING if self._stage is _Stage.JOB else OWN
            if not data.startswith(sought, start):
                own = data.find(b"\n" + sought, start, end) + 1 or end
                yield self._give(data[start:own])
                start = own
                continue
            stop = data.find(b"\n", start) + 1 or end
            if not self._is_own(data[start + len(OWN) : stop]):
                yield self._give(data[start:stop])
            start = stop

    def _is_own(self, text: bytes) -> bool:
        """Whether a line that begins as pikaci's do is one, which may begin another stage."""
        phase = _PHASE.fullmatch(text)
        stage = _NEXT.get((self._stage, phase[1])) if phase else None
        if stage is None:
            return self._stage is not _Stage.JOB
        if self._stage is _Stage.PREPARES:
            self.begun = self._given
        self._stage = stage
        return True

    def _give(self, data: bytes) -> bytes:
        self._given += len(data)
        return data


class LogReader:
    """Reads a log from its beginning: all of it, or what was printed by others, if `is_cut`.

    If `find` has another path when the log's end is reached, another attempt has begun: its log
    follows.
    """

    def __init__(self, find: Callable[[], Path], *, is_cut: bool) -> None:
        self._find = find
        self._is_cut = is_cut
        self._begin(find())

    def _begin(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._cut = Printed() if self._is_cut else None

    def step(self) -> bytes | None:
        """What comes next, which may be nothing to show; None if there is no more by now."""
        data = read_log(self._path, self._offset, CHUNK_BYTES).data
        if data:
            self._offset += len(data)
            return self._cut.feed(data) if self._cut else data
        newest = self._find()
        if newest == self._path:
            return None
        rest = self.end()
        self._begin(newest)
        return rest

    @property
    def begun(self) -> int | None:
        """How much was given back before the job began; null as long as it has not."""
        return self._cut.begun if self._cut else None

    def end(self) -> bytes:
        """What was held back until now."""
        return self._cut.end() if self._cut else b""

    def rest(self) -> Iterator[bytes]:
        """All there is."""
        while (data := self.step()) is not None:
            yield data
        yield self.end()


@dataclass
class Split:
    """A host log in two: up to where its job begins, and from there on."""

    reader: LogReader
    _given: int = 0
    _lines: int = 0
    _rest: bytes = b""
    _is_before: bool = True
    _pieces: Iterator[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._pieces = self.reader.rest()

    def before(self) -> Iterator[bytes]:
        """What the prepares printed."""
        for data in self._pieces:
            begun = self.reader.begun
            cut = len(data) if begun is None else begun - self._given
            self._given += len(data)
            self._lines += data.count(b"\n", 0, cut)
            self._rest = data[cut:]
            self._is_before = begun is None
            yield data[:cut]
            if not self._is_before:
                return

    def skip(self) -> int:
        """Read up to where the job begins; how many lines are before."""
        if self._is_before:
            for _ in self.before():
                pass
        return self._lines

    def after(self) -> Iterator[bytes]:
        """What the job printed."""
        yield self._rest
        yield from self._pieces


def joined(logs: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    """Logs one after the other, each from a line of its own on."""
    is_cut = False
    for log in logs:
        separator = b"\n" if is_cut else b""
        for data in log:
            if data:
                yield separator + data
                separator, is_cut = b"", not data.endswith(b"\n")


def reader(
    store: RunStore, run_id: str, job_id: str, kind: LogKind, *, is_whole: bool = False
) -> LogReader:
    """What reads a log of a job, of its last attempt and of those that follow."""
    find = partial(store.log_path, run_id, job_id, kind)
    return LogReader(find, is_cut=kind is LogKind.HOST and not is_whole)


def names_of(store: RunStore, run_id: str) -> dict[str, str]:
    """The ids that prepares have in their catalog and in logs, by the ids of their nodes.

    A prepare that only a text mentions has none, nor have those of a plan that can't be read.
    """
    from jerichoci.record.store import read_json

    try:
        nodes = rows(read_json(store.run(run_id).plan), "nodes")
    except PikaciError:
        return {}
    found = [(node.get("id"), node.get("prepare_id")) for node in nodes]
    return {node: name for node, name in found if isinstance(node, str) and isinstance(name, str)}
