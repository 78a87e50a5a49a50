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
from jerichoci.remote.agent.agent_operations import open_artifacts, read_artifacts
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
    """Bring the files in `directory` on the host, or in a guest's outbox, and list them by path."""
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
    async with session.hold(open_artifacts, directory, is_outbox=is_outbox) as held:
        make_private(into)
        with ArtifactWriter(into) as writer:
            while parts := await session.do(read_artifacts, held.handle):
                await in_thread(partial(_write, session.name, writer, parts))
    return below_files(writer.made()) if is_outbox else writer.made()


def _write(host: str, writer: ArtifactWriter, parts: list[str | bytes]) -> None:
    for part in parts:
        if isinstance(part, bytes):
            writer.write(part)
        elif {"", ".", ".."} & set(part.split("/")):
            raise InfrastructureError(f"{host} sent an invalid file name {part[:200]!r}")
        else:
            writer.begin(part)
