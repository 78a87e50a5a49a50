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
from jerichoci.machine.artifact_limits import Admission
from jerichoci.machine.artifacts import DIRECTORY, Artifact, ArtifactWriter
from jerichoci.machine.gather import in_thread
from jerichoci.machine.outbox import below_files
from jerichoci.remote.agent.agent_operations import (
    open_artifacts,
    put_files,
    read_artifacts,
)
from jerichoci.remote.agent.outgoing import Outgoing
from jerichoci.state.layout import make_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jerichoci.remote.session import Session

CHECK_SECS = 0.2
"""Between two looks whether it was cancelled."""


async def fetch(  # noqa: PLR0913 - what is fetched, where to, and when to end it
    session: Session,
    directory: Path,
    into: Path,
    cancelled: Callable[[], bool] | None,
    admission: Admission | None = None,
    *,
    is_outbox: bool = False,
) -> list[Artifact]:
    """Bring the files in `directory` on the host, or in a guest's outbox, and list them by path."""
    work = asyncio.create_task(
        _fetch(session, directory, into, admission or Admission(), is_outbox=is_outbox)
    )
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
    session: Session, directory: Path, into: Path, admission: Admission, *, is_outbox: bool
) -> list[Artifact]:
    opening = session.hold(open_artifacts, directory, admission.limits, is_outbox=is_outbox)
    async with opening as held:
        make_private(into)
        into.chmod(DIRECTORY)
        with ArtifactWriter(into) as writer:
            while True:
                piece = await session.do(read_artifacts, held.handle)
                await in_thread(partial(_write, session.name, writer, piece.parts))
                if piece.is_last:
                    break
        admission.add_refused(piece.refused, piece.refused_count)
    return below_files(writer.made()) if is_outbox else writer.made()


def _write(host: str, writer: ArtifactWriter, parts: list[str | bytes]) -> None:
    for part in parts:
        if isinstance(part, bytes):
            writer.write(part)
        elif {"", ".", ".."} & set(part[1:].split("/")):
            raise InfrastructureError(f"{host} sent an invalid file name {part[1:][:200]!r}")
        else:
            writer.begin(part[1:], is_executable=part[0] == "x")


async def send(session: Session, directory: Path, into: Path) -> None:
    """Have the files of a directory of this machine in `into` on the host."""
    outgoing, path = Outgoing(directory), ""
    try:
        is_last = False
        while not is_last:
            parts, is_last = await asyncio.to_thread(outgoing.next_piece)
            if parts and isinstance(parts[0], bytes):
                parts.insert(0, f"+{path}")
            await session.do(put_files, into, parts)
            path = next((p[1:] for p in reversed(parts) if isinstance(p, str)), path)
    finally:
        outgoing.close()
