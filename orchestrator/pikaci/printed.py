"""What jobs and prepares printed, without what pikaci says of itself in the same logs.

A host log has the output of the prepares first (`NODE> line`), then that of the job, byte for byte.
pikaci's own lines (`pikaci> ...`) are before the job, after it, and two of them, which end phases,
may be in its output. A guest log has the job's output alone.
"""

from __future__ import annotations

import re
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
    """Reads one log of a job from its beginning: what was printed, or with no `names` all of it.

    If another attempt begins, its log follows, unless one attempt is asked for.
    """

    def __init__(
        self,
        store: RunStore,
        run_id: str,
        job_id: str,
        kind: LogKind,
        names: Mapping[str, str] | None,
        attempt: int | None = None,
    ) -> None:
        self._store = store
        self._log = (run_id, job_id, kind, attempt)
        self._names = names if kind is LogKind.HOST else None
        self._begin(store.log_path(*self._log))

    def _begin(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._cut = None if self._names is None else Printed(self._names)

    def step(self) -> bytes | None:
        """What comes next, which may be nothing to show; None if there is no more by now."""
        data = read_log(self._path, self._offset, CHUNK_BYTES).data
        if data:
            self._offset += len(data)
            return self._cut.feed(data) if self._cut else data
        newest = self._store.log_path(*self._log)
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


def joined(readers: Iterable[LogReader]) -> Iterator[bytes]:
    """Logs one after the other, each from a line of its own on."""
    is_cut = False
    for reader in readers:
        separator = b"\n" if is_cut else b""
        for data in reader.rest():
            if data:
                yield separator + data
                separator, is_cut = b"", not data.endswith(b"\n")


def readers(
    store: RunStore, run_id: str, job_id: str, names: Mapping[str, str] | None
) -> list[LogReader]:
    """Both logs of a job, in the order in which they are shown."""
    return [LogReader(store, run_id, job_id, kind, names) for kind in (LogKind.HOST, LogKind.GUEST)]


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
