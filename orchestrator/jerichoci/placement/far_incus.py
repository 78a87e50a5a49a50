"""The Incus of a remote host, at a socket here."""

from __future__ import annotations

import asyncio
import errno
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.incus.site import SERVICE_SOCKET, SOCKET
from jerichoci.ssh.errors import HostSetupError
from jerichoci.ssh.forward import forwarded_socket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jerichoci.incus.site import IncusSite
    from jerichoci.ssh.session import Session


@asynccontextmanager
async def far_socket(session: Session, site: IncusSite) -> AsyncIterator[Path]:
    """A socket here that leads to the Incus of a session's host.

    Raises:
        HostSetupError: there is no Incus, or it doesn't let us in.
        InfrastructureError: the host was lost.
    """
    there = await _find(session, site)
    # A socket's path is short.
    directory = Path(tempfile.mkdtemp(prefix="pikaci-"))
    try:
        async with forwarded_socket(session.connection, there, directory / "incus"):
            yield directory / "incus"
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def _find(session: Session, site: IncusSite) -> str:
    """Where the socket is that takes a connection."""
    places = [site.socket] if site.socket else [SERVICE_SOCKET, SOCKET]
    answers = [await session.value("probe_socket", path=path) for path in places]
    for path, answer in zip(places, answers, strict=True):
        if answer["errno"] == 0:
            return path
    path, answer = next(
        (found for found in zip(places, answers, strict=True) if found[1]["errno"] != errno.ENOENT),
        (places[-1], answers[-1]),
    )
    name = session.name
    match answer["errno"]:
        case errno.ENOENT:
            raise HostSetupError(
                name,
                f"{name} has no Incus: there is no socket {path}",
                f"install Incus there, or name its socket: [hosts.{name}.incus] socket",
            )
        case errno.EACCES | errno.EPERM:
            raise HostSetupError(
                name,
                f"Incus on {name} doesn't let us in: no permission on {path}",
                "be a member of the group that owns it there (`incus-admin`)",
            )
        case errno.ECONNREFUSED:
            raise HostSetupError(
                name, f"Incus on {name} isn't running: nobody listens at {path}", "start it there"
            )
        case _:
            raise HostSetupError(
                name, f"Incus on {name} can't be reached at {path}: {answer['message']}"
            )
