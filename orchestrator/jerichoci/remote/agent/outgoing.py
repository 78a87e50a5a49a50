"""What a job left, on its way to the orchestrator: one stream that can be resumed.

It begins with a list of the files, in JSON; they come one after the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from jerichoci.machine import artifacts, outbox
from jerichoci.machine.dirfd_path import Descent
from jerichoci.state.layout import make_private

if TYPE_CHECKING:
    from pathlib import Path


class Gathering:
    """The files of a directory, or of a guest's outbox, of which copies are made in `staging`."""

    def __init__(self, directory: Path, staging: Path | None) -> None:
        self._directory = directory
        self._staging = staging
        self._files: list[tuple[str, int]] = []
        """Names below the root and sizes in bytes, in the order of the stream."""
        self._list = b""
        self._ends: list[int] = []
        """Where in the stream the list ends, and then each of the files."""
        self._descent: Descent | None = None
        self._using = threading.Lock()

    async def take(self) -> int:
        """Take everything, as from a stranger; somebody who gives up waiting ends it.

        Returns how many bytes the list has.

        Raises:
            OSError: something can't be read or written.
        """
        given_up = threading.Event()
        try:
            await asyncio.to_thread(self._take, given_up)
        finally:
            given_up.set()
        return len(self._list)

    def _take(self, given_up: threading.Event) -> None:
        root = self._directory
        if self._staging is not None:
            make_private(self._staging)
            outbox.collect(self._directory, self._staging, given_up.is_set)
            root = self._staging
        self._files = artifacts.names(root, given_up.is_set)
        self._list = json.dumps(self._files).encode("ascii")
        self._ends = list(accumulate(size for _, size in [("", len(self._list)), *self._files]))
        with self._using:
            if not given_up.is_set():
                self._descent = Descent(root)

    def read(self, offset: int, limit: int) -> bytes:
        """Bytes of the stream from `offset`, `limit` at most; nothing at its end. Blocks.

        Raises:
            OSError: a file can't be read.
        """
        with self._using:
            pieces: list[bytes] = []
            at = bisect_right(self._ends, offset)
            while limit and at < len(self._ends):
                begin = self._ends[at - 1] if at else 0
                take = min(self._ends[at] - offset, limit)
                pieces.append(self._piece(at, offset - begin, take))
                offset += take
                limit -= take
                at += 1
            return b"".join(pieces)

    def _piece(self, at: int, offset: int, count: int) -> bytes:
        if at == 0:
            return self._list[offset : offset + count]
        if count == 0 or self._descent is None:
            return bytes(count)
        *above, name = self._files[at - 1][0].split("/")
        fd = os.open(name, artifacts.FILE_FLAGS, dir_fd=self._descent.directory(above))
        return _read(fd, offset, count)

    def close(self) -> None:
        """Read no more."""
        with self._using:
            if self._descent is not None:
                self._descent.close()
                self._descent = None


def _read(fd: int, offset: int, count: int) -> bytes:
    try:
        pieces = []
        while count and (data := os.pread(fd, count, offset)):
            pieces.append(data)
            offset += len(data)
            count -= len(data)
        # It has become shorter, which only somebody else can have done.
        return b"".join([*pieces, bytes(count)])
    finally:
        os.close(fd)
