"""What jobs left on a remote host, brought here: one stream of all files, resumed where it broke.

Nothing that a host says of names is believed: a name that leads anywhere but below the directory
that is filled is an error.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

from jerichoci.artifacts import COPY_FLAGS, MODE, Artifact
from jerichoci.errors import InfrastructureError
from jerichoci.layout import make_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jerichoci.ssh.session import Session

CHUNK_BYTES = 4 * 1024 * 1024
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
    found = await session.value(
        "gather",
        handle=handle,
        path=str(directory),
        staging=str(staging) if staging else None,
    )
    try:
        make_private(into)
        stream = _Stream(session, handle)
        for name, size in found["files"]:
            await stream.write(_checked(session, name), int(size), into)
    finally:
        session.post("release", handle=handle)
    return [Artifact(**row) for row in found["artifacts"]]


def _checked(session: Session, name: str) -> list[str]:
    parts = name.split("/")
    if "\0" in name or {"", ".", ".."} & set(parts):
        raise InfrastructureError(f"{session.name} names a file {name!r}, which is none")
    return parts


class _Stream:
    """The bytes of all files, one after the other."""

    def __init__(self, session: Session, handle: str) -> None:
        self._session = session
        self._handle = handle
        self._offset = 0
        self._left = b""

    async def write(self, parts: list[str], size: int, into: Path) -> None:
        """Write the next file below a directory of ours."""
        parent = into.joinpath(*parts[:-1])
        make_private(parent)
        # A second attempt to collect the same things starts anew.
        (parent / parts[-1]).unlink(missing_ok=True)
        fd = os.open(parent / parts[-1], COPY_FLAGS, MODE)
        try:
            at = 0
            while at < size:
                data = await self._take(size - at)
                if data != ZEROS[: len(data)]:
                    await asyncio.to_thread(_write, fd, data, at)
                at += len(data)
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    async def _take(self, most: int) -> bytes:
        if not self._left:
            _, self._left = await self._session.call(
                "fetch", handle=self._handle, offset=self._offset, limit=CHUNK_BYTES
            )
            self._offset += len(self._left)
            if not self._left:
                raise InfrastructureError(f"{self._session.name} has less than it said")
        data, self._left = self._left[:most], self._left[most:]
        return data


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
