"""What jobs and prepares printed, without what pikaci says of itself in the same logs.

A host log has the output of the prepares first (`NODE> line`), then that of the job, byte for byte.
pikaci's own lines (`pikaci> ...`) are before the job, after it, and two of them, which end phases,
may be in its output. A guest log has the job's output alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError
from jerichoci.state.line_splitter import LINE_BYTES
from jerichoci.state.log_file import read_log
from jerichoci.state.reading import rows
from jerichoci.status import LogKind, PhaseName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from jerichoci.record.store import RunStore

CHUNK_BYTES = 4 * 1024 * 1024
OWN = b"pikaci> "
"""Begins pikaci's own lines in a host log."""
_BEGINS = f"{PhaseName.PREPARE_DIRECTORIES} ".encode()
_ENDS = f"{PhaseName.WAIT_FOR_COMPLETION} ".encode()
_LAUNCHED = f"{PhaseName.LAUNCH_GUEST} ".encode()
_PHASE = re.compile(rb"[a-z_]+ [a-z]+ \([0-9]+ ms\)\n?")
_SPEAKER = re.compile(rb"([a-z0-9][a-z0-9_-]{0,63})> ")


class Printed:
    """Takes a host log as its bytes come, and gives back what was printed by others than pikaci.

    `names` has the ids that prepares have in their catalog, by the ids of their nodes.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = names or {}
        self._speak: Callable[[bytes], bytes] = self._of_prepares
        self.begun: int | None = None
        """How much was given back before the job began; null as long as it has not."""
        self._given = 0
        self._held = b""
        self._is_inside = False
        """Whether what comes next continues a line that was given back in part."""

    def feed(self, data: bytes) -> bytes:
        """What was printed up to here; a line that may be pikaci's is held back until its end."""
        if self._is_inside:
            end = data.find(b"\n") + 1 or len(data)
            rest, data, self._is_inside = data[:end], data[end:], data[end - 1 : end] != b"\n"
            self._given += len(rest)
            if self._is_inside:
                return rest
        else:
            rest = b""
        data = self._held + data
        end = data.rfind(b"\n") + 1
        whole, self._held = data[:end], data[end:]
        found = rest + self._whole_lines(whole)
        if self._held and not self._may_be_own(self._held):
            self._given += len(self._held)
            found, self._held, self._is_inside = found + self._held, b"", True
        return found

    def end(self) -> bytes:
        """What was held back, if it was printed by others."""
        held, self._held = self._held, b""
        return self._whole_lines(held)

    def _may_be_own(self, line: bytes) -> bool:
        if len(line) > LINE_BYTES:
            return False
        return self._speak == self._of_prepares or line[: len(OWN)] == OWN[: len(line)]

    def _whole_lines(self, data: bytes) -> bytes:
        found = []
        while data:
            start = 0 if self._speak == self._of_prepares else _next_own(data)
            end = start or data.find(b"\n") + 1 or len(data)
            found.append(data[:end] if start else self._speak(data[:end]))
            self._given += len(found[-1])
            data = data[end:]
        return b"".join(found)

    def _of_prepares(self, line: bytes) -> bytes:
        if line.startswith(OWN):
            if line.startswith(_BEGINS, len(OWN)):
                self._speak, self.begun = self._of_launch, self._given
            return b""
        speaker = _SPEAKER.match(line)
        name = self._names.get(speaker[1].decode()) if speaker else None
        return line if speaker is None or name is None else name.encode() + line[speaker.end(1) :]

    def _of_launch(self, line: bytes) -> bytes:
        if line.startswith(_LAUNCHED, len(OWN)):
            self._speak = self._of_job
        elif line.startswith(_ENDS, len(OWN)):
            self._speak = self._of_end
        return b""

    def _of_job(self, line: bytes) -> bytes:
        if line.startswith(_ENDS, len(OWN)) and _PHASE.fullmatch(line, len(OWN)):
            self._speak = self._of_end
            return b""
        return line

    def _of_end(self, _line: bytes) -> bytes:
        return b""


def _next_own(data: bytes) -> int:
    """Where the next line is that may be pikaci's; the end, if there is none."""
    if data.startswith(OWN):
        return 0
    return data.find(b"\n" + OWN) + 1 or len(data)


class LogReader:
    """Reads a log from its beginning: what was printed, or without `names` all of it.

    If `find` has another path when the log's end is reached, another attempt has begun: its log
    follows.
    """

    def __init__(self, find: Callable[[], Path], names: Mapping[str, str] | None) -> None:
        self._find = find
        self._names = names
        self._begin(find())

    def _begin(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._cut = None if self._names is None else Printed(self._names)

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
    store: RunStore, run_id: str, job_id: str, kind: LogKind, names: Mapping[str, str] | None
) -> LogReader:
    """What reads a log of a job, of its last attempt and of those that follow."""
    find = partial(store.log_path, run_id, job_id, kind)
    return LogReader(find, names if kind is LogKind.HOST else None)


def names_of(store: RunStore, run_id: str) -> dict[str, str]:
    """The ids that prepares have in their catalog, by the ids of their nodes.

    Of a plan that can't be read there is none: prepares are shown by the ids of their nodes.
    """
    from jerichoci.record.store import read_json

    try:
        nodes = rows(read_json(store.run(run_id).plan), "nodes")
    except PikaciError:
        return {}
    found = [
        (node.get("id"), node.get("prepare_id")) for node in nodes if node.get("kind") == "prepare"
    ]
    return {node: name for node, name in found if isinstance(node, str) and isinstance(name, str)}
