"""Files that jobs left on a remote host, brought here in one stream.

Nothing that a host says of files is believed but their bytes: a path that leads anywhere but below
the directory that is filled is an error, and records have the size and digest of what came.
"""

from __future__ import annotations

import asyncio
import errno
import os
from functools import partial
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine.artifacts import Artifact, ArtifactWriter
from jerichoci.machine.gather import in_thread
from jerichoci.machine.outbox import below_files
from jerichoci.state.layout import make_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jerichoci.remote.session import Session

CHECK_SECS = 0.2
"""Between two looks whether it was cancelled."""


async def fetch(
    session: Session,
    directory: Path,
    into: Path,
    cancelled: Callable[[], bool] | None,
    *,
    is_outbox: bool = False,
) -> list[Artifact]:
    """Bring the files in `directory` on the host, or in a guest's outbox, and list them by path.

    Raises:
        InfrastructureError: the host was lost, or sent something invalid.
        OSError: they can't be read there or written here; ECANCELED: it was cancelled.
    """
    work = asyncio.create_task(_fetch(session, directory, into, is_outbox=is_outbox))
    try:
        while not work.done():
            await asyncio.wait({work}, timeout=CHECK_SECS)
            if cancelled is not None and cancelled():
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        return work.result()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _fetch(
    session: Session, directory: Path, into: Path, *, is_outbox: bool
) -> list[Artifact]:
    opening = session.holding("open_artifacts", path=str(directory), is_outbox=is_outbox)
    async with opening as held:
        make_private(into)
        with ArtifactWriter(into) as writer:
            is_last = False
            while not is_last:
                answer, data = await session.call("read_artifacts", handle=held.handle)
                is_last = answer["is_last"]
                await in_thread(partial(_write, session.name, writer, answer["listed"], data))
    return below_files(writer.made()) if is_outbox else writer.made()


def _write(host: str, writer: ArtifactWriter, listed: list[str | int], data: bytes) -> None:
    at = 0
    for part in listed:
        if isinstance(part, str):
            writer.begin(_checked(host, part))
        elif 0 <= part <= len(data) - at:
            writer.write(data[at : at + part])
            at += part
        else:
            raise InfrastructureError(f"{host} sent fewer bytes of artifacts than it announced")


def _checked(host: str, path: str) -> str:
    try:
        is_valid = b"\0" not in os.fsencode(path) and not {"", ".", ".."} & set(path.split("/"))
    except UnicodeEncodeError:
        is_valid = False
    if not is_valid:
        raise InfrastructureError(f"{host} sent an invalid file name {path[:200]!r}")
    return path
