"""Files that a job left, on their way to the orchestrator: one stream, asked for in pieces.

In a piece, a text begins a file: `x` if it is executable, else `-`, and its path. Bytes belong to
the file begun last.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from jerichoci.machine.artifacts import read_directory
from jerichoci.machine.outbox import read_outbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jerichoci.machine.artifact_limits import Admission

PIECE_BYTES = 4 * 1024 * 1024
"""The most that goes over the connection at once: with each of them goes a round trip."""
PIECE_FILES = 10_000


class Outgoing:
    """The files of a directory, or of a guest's outbox."""

    def __init__(
        self, directory: Path, admission: Admission | None = None, *, is_outbox: bool = False
    ) -> None:
        self._closed = threading.Event()
        self._using = threading.Lock()
        read = read_outbox if is_outbox else read_directory
        self._files = read(directory, self._closed.is_set, admission)
        self.admission = admission
        self._parts = self._split()

    def _split(self) -> Iterator[str | bytes]:
        for path, is_executable, content in self._files:
            yield f"{'x' if is_executable else '-'}{path}"
            yield from content

    def next_piece(self) -> tuple[list[str | bytes], bool]:
        """The next piece, and whether it is the last one, which may be empty. Blocking."""
        piece: list[str | bytes] = []
        size = 0
        with self._using:
            for part in self._parts:
                piece.append(part)
                size += len(part) if isinstance(part, bytes) else 0
                if size >= PIECE_BYTES or len(piece) >= PIECE_FILES:
                    return piece, False
        return piece, True

    def close(self) -> None:
        """Read no more."""
        self._closed.set()
        with self._using:
            self._files.close()
