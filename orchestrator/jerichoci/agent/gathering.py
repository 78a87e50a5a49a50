"""What a job left, on its way to the orchestrator: all files as one stream that can be resumed."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

from jerichoci import artifacts, outbox
from jerichoci.layout import make_private

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.artifacts import Artifact


class Gathering:
    """The files of a directory, or of a guest's outbox, of which copies are made in `staging`."""

    def __init__(self, directory: Path, staging: Path | None) -> None:
        self._directory = directory
        self._staging = staging
        self._root = staging or directory
        self.files: list[tuple[str, int]] = []
        """Names below the root and sizes in bytes, in the order of the stream."""

    async def take(self) -> list[Artifact]:
        """Take everything, as from a stranger; somebody who gives up waiting ends it.

        Raises:
            OSError: something can't be read or written.
        """
        given_up = threading.Event()
        try:
            return await asyncio.to_thread(self._take, given_up)
        finally:
            given_up.set()

    def _take(self, given_up: threading.Event) -> list[Artifact]:
        if self._staging is None:
            taken = artifacts.collect(self._directory, given_up.is_set)
        else:
            make_private(self._staging)
            taken = outbox.collect(self._directory, self._staging, given_up.is_set)
        self.files = sorted(_sizes(str(self._root)))
        return taken

    def read(self, offset: int, limit: int) -> bytes:
        """Bytes of the stream from `offset`, `limit` at most; nothing at its end. Blocks.

        Raises:
            OSError: a file can't be read.
        """
        pieces: list[bytes] = []
        for name, size in self.files:
            if offset >= size:
                offset -= size
                continue
            take = min(size - offset, limit)
            pieces.append(_read(os.path.join(self._root, name), offset, take))  # noqa: PTH118 - may be many
            limit -= take
            offset = 0
            if not limit:
                break
        return b"".join(pieces)


def _sizes(root: str) -> list[tuple[str, int]]:
    found = []
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)  # noqa: PTH118 - may be many
            found.append((os.path.relpath(path, root), os.lstat(path).st_size))
    return found


def _read(path: str, offset: int, count: int) -> bytes:
    fd = os.open(path, artifacts.FILE_FLAGS)
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
