"""What jobs left on a remote host, brought here: one stream of all files, resumed where it broke.

Nothing that a host says of files is believed but their bytes: a name that leads anywhere but below
the directory that is filled is an error, and what records have of a file is of what came.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from jerichoci.errors import InfrastructureError
from jerichoci.machine.artifacts import COPY_FLAGS, MODE, Artifact, spelled
from jerichoci.machine.dirfd_path import Descent
from jerichoci.machine.outbox import FILES
from jerichoci.state.layout import make_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jerichoci.remote.session import Session

CHUNK_BYTES = 4 * 1024 * 1024
MOST_LIST_BYTES = 512 * 1024 * 1024
"""Of the list of files: some millions."""
LOOK_SECS = 0.2
"""Between two looks whether anybody still waits."""
ZEROS = bytes(CHUNK_BYTES)


async def fetch(
    session: Session,
    directory: Path,
    staging: Path | None,
    into: Path,
    cancelled: Callable[[], bool] | None,
) -> list[Artifact]:
    """Bring what is in `directory` there, copied to `staging` first if there may be a stranger.

    Raises:
        InfrastructureError: the host was lost, or says what can't be.
        OSError: it can't be read there or written here; with ECANCELED, it was cancelled.
    """
    work = asyncio.create_task(_fetch(session, directory, staging, into))
    try:
        while not work.done():
            await asyncio.wait({work}, timeout=LOOK_SECS)
            if cancelled is not None and cancelled():
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        return work.result()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _fetch(
    session: Session, directory: Path, staging: Path | None, into: Path
) -> list[Artifact]:
    handle = os.urandom(8).hex()
    try:
        found = await session.value(
            "gather",
            handle=handle,
            path=str(directory),
            staging=str(staging) if staging else None,
        )
        stream = _Stream(session, handle)
        listed, rest = await stream.split(found["list_bytes"])
        files = await asyncio.to_thread(_parsed, session.name, listed)
        make_private(into)
        with _Filling(session.name, into, files) as filling:
            await asyncio.to_thread(filling.write, rest)
            while not filling.is_full:
                await asyncio.to_thread(filling.write, await stream.next())
    finally:
        session.post("release", handle=handle)
    if staging is None:
        return _sorted(filling.taken)
    prefix = f"{FILES}/"
    return _sorted(
        [
            Artifact(artifact.path.removeprefix(prefix), artifact.bytes, artifact.sha256)
            for artifact in filling.taken
            if artifact.path.startswith(prefix)
        ]
    )


def _sorted(taken: list[Artifact]) -> list[Artifact]:
    return sorted(taken, key=lambda artifact: artifact.path)


def _parsed(host: str, listed: bytes) -> list[tuple[list[str], int]]:
    """The names, split, and sizes of a list, as far as they can be believed."""
    try:
        rows = json.loads(listed)
        found = [(str(name), size) for name, size in rows]
    except (ValueError, TypeError, RecursionError) as error:
        raise InfrastructureError(f"{host} has a list of artifacts that is none") from error
    return [(_split(host, name), _size(host, name, size)) for name, size in found]


def _split(host: str, name: str) -> list[str]:
    parts = name.split("/")
    if "\0" in name or {"", ".", ".."} & set(parts) or not _is_spellable(name):
        raise InfrastructureError(f"{host} names a file {name[:200]!r}, which is none")
    return parts


def _is_spellable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def _size(host: str, name: str, size: object) -> int:
    if not isinstance(size, int) or size < 0:
        raise InfrastructureError(f"{host} says that {name[:200]!r} has {size!r} bytes")
    return size


class _Stream:
    """What was gathered, piece by piece."""

    def __init__(self, session: Session, handle: str) -> None:
        self._session = session
        self._handle = handle
        self._offset = 0

    async def next(self) -> bytes:
        """The next piece."""
        _, data = await self._session.call(
            "fetch", handle=self._handle, offset=self._offset, limit=CHUNK_BYTES
        )
        if not data:
            raise InfrastructureError(f"{self._session.name} has less than it said")
        self._offset += len(data)
        return data

    async def split(self, count: int) -> tuple[bytes, bytes]:
        """The first `count` bytes, and what came along with the last of them."""
        if not isinstance(count, int) or not 0 <= count <= MOST_LIST_BYTES:
            raise InfrastructureError(
                f"{self._session.name} has a list of artifacts of {count!r} bytes",
                "did the job leave so many files? Pack them into one",
            )
        data = bytearray()
        while len(data) < count:
            data += await self.next()
        return bytes(data[:count]), bytes(data[count:])


class _Filling:
    """A context manager: files below `into` that are filled as bytes come, one after the other."""

    def __init__(self, host: str, into: Path, files: list[tuple[list[str], int]]) -> None:
        self._host = host
        self._descent = Descent(into, makes=True)
        self._waiting = deque(files)
        self._fd = -1
        self._at = 0
        self._digest = hashlib.sha256()
        self._using = threading.Lock()
        self._is_closed = False
        self.taken: list[Artifact] = []
        """The files that are whole."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        # Somebody may have given up waiting for what a thread still does.
        with self._using:
            self._is_closed = True
            self._descent.close()
            if self._fd >= 0:
                os.close(self._fd)

    @property
    def is_full(self) -> bool:
        """Whether every file is whole."""
        return not self._waiting

    def write(self, data: bytes) -> None:
        """Go on with the next bytes; blocking.

        Raises:
            InfrastructureError: there are more of them than there should be.
            OSError: they can't be written.
        """
        with self._using:
            if self._is_closed:
                return
            at = 0
            while self._waiting:
                names, size = self._waiting[0]
                if self._fd < 0:
                    self._begin(names)
                piece = data[at : at + size - self._at]
                at += len(piece)
                self._put(piece)
                if self._at < size:
                    return
                self._end(names, size)
            if at < len(data):
                raise InfrastructureError(f"{self._host} has more than it said")

    def _begin(self, names: list[str]) -> None:
        directory = self._descent.directory(names[:-1])
        # A second attempt to collect the same things starts anew.
        with suppress(FileNotFoundError):
            os.unlink(names[-1], dir_fd=directory)
        self._fd = os.open(names[-1], COPY_FLAGS, MODE, dir_fd=directory)
        self._at = 0
        self._digest = hashlib.sha256()

    def _put(self, piece: bytes) -> None:
        self._digest.update(piece)
        if piece != ZEROS[: len(piece)]:
            _write(self._fd, piece, self._at)
        self._at += len(piece)

    def _end(self, names: list[str], size: int) -> None:
        os.ftruncate(self._fd, size)
        os.close(self._fd)
        self._fd = -1
        self._waiting.popleft()
        path = spelled("/".join(names))
        self.taken.append(Artifact(path=path, bytes=size, sha256=self._digest.hexdigest()))


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
