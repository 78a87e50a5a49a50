"""The Incus of a remote host, at a socket here."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from jerichoci.errors import PikaciError
from jerichoci.plan.incus_site import SERVICE_SOCKET, SOCKET
from jerichoci.remote.ssh.errors import HostSetupError
from jerichoci.remote.ssh.forward import OPEN_SECS, forwarded_socket
from jerichoci.remote.ssh.socket_directory import socket_directory
from jerichoci.runtime.incus.api import UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from jerichoci.plan.incus_site import IncusSite
    from jerichoci.remote.session import Session
    from jerichoci.remote.ssh.forward import Forward

LOOK_SECS = 0.1
"""Between two looks whether a line is back."""


class AbsentIncusError(HostSetupError):
    """The host has no Incus, or not where it was looked for."""


class FarWay:
    """A way from `socket` here to the socket `there`."""

    def __init__(self, session: Session, socket: Path, there: str) -> None:
        self.socket = socket
        self.there = there
        self._session = session
        self._forward: Forward | None = None
        self._is_closed = threading.Event()
        self._looking = threading.Lock()
        self._broke_at: float | None = None
        self._broken_secs = 0.0

    @property
    def where(self) -> str:
        """The host."""
        return f"on {self._session.name}"

    @property
    def is_whole(self) -> bool:
        """Whether there is a line."""
        return self._session.is_up and not self._is_closed.is_set()

    @property
    def trouble(self) -> str | None:
        """Why the last connection led nowhere."""
        failures = self._forward.failures if self._forward else ()
        last = failures[-1] if failures else None
        return last.message if isinstance(last, PikaciError) else None

    def clock(self) -> float:
        """Seconds, which don't go by while there is no line."""
        with self._looking:
            now = time.monotonic()
            if not self._session.is_up:
                self._broke_at = self._broke_at or now
            elif self._broke_at is not None:
                self._broken_secs += now - self._broke_at
                self._broke_at = None
            return (self._broke_at or now) - self._broken_secs

    def mended(self) -> None:
        """Wait until there is a line.

        Raises:
            InfrastructureError: there will be none.
        """
        while not self.is_whole:
            if self._session.lost is not None:
                raise self._session.lost
            if self._is_closed.is_set():
                raise UnreachableError(f"Incus isn't needed {self.where} any more")
            self.clock()
            time.sleep(LOOK_SECS)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let the socket here lead there."""
        connection = self._session.connection
        async with forwarded_socket(connection, self.there, self.socket) as self._forward:
            try:
                yield
            finally:
                self._is_closed.set()


@asynccontextmanager
async def far_way(session: Session, site: IncusSite) -> AsyncIterator[FarWay]:
    """A way to the Incus of a session's host.

    Raises:
        HostSetupError: there is no Incus, or it can't be reached.
        InfrastructureError: the host was lost.
    """
    there = await _find(session, [site.socket] if site.socket else [SERVICE_SOCKET, SOCKET])
    with socket_directory() as directory:
        way = FarWay(session, directory / "incus", there)
        async with way.open():
            yield way


async def _find(session: Session, places: Sequence[str]) -> str:
    """Where the socket is that can be connected to from here."""
    while True:
        breaks = session.breaks
        for path, leads in zip(places, await _try(session, places), strict=True):
            if leads:
                return path
        # The host knows better why it doesn't.
        answers = [await session.value("probe_socket", path=path) for path in places]
        if session.breaks == breaks:
            raise _why(session, list(zip(places, answers, strict=True)))


async def _try(session: Session, places: Sequence[str]) -> list[bool]:
    return await asyncio.gather(*(_leads(session, path) for path in places))


async def _leads(session: Session, path: str) -> bool:
    import asyncssh

    connection = await session.connection()
    try:
        async with asyncio.timeout(OPEN_SECS):
            _, writer = await connection.open_unix_connection(path, encoding=None)
    except (asyncssh.Error, OSError, TimeoutError):
        return False
    writer.close()
    return True


def _why(session: Session, answers: Sequence[tuple[str, dict[str, Any]]]) -> HostSetupError:
    """Why none of a host's sockets can be connected to."""
    name = session.name
    there = [found for found in answers if found[1]["errno"] != errno.ENOENT]
    path, answer = next(iter(there), answers[-1])
    hint: str | None = None
    kind = HostSetupError
    match answer["errno"]:
        case 0:
            sentence = f"sshd on {name} doesn't let us through to the socket {path}"
            hint = (
                "its sshd_config must have `AllowStreamLocalForwarding yes` or `local`, and our key"
                " no `restrict` without `port-forwarding`"
            )
        case errno.ENOENT:
            kind = AbsentIncusError
            sentence = f"{name} has no Incus: there is no socket {path}"
            hint = f"have Incus run there, or name its socket: [hosts.{name}.incus] socket"
        case errno.EACCES | errno.EPERM:
            sentence = f"Incus on {name} doesn't let us in: no permission on {path}"
            hint = "be a member of the group that owns it there (`incus-admin`)"
        case errno.ECONNREFUSED:
            sentence = f"Incus on {name} isn't running: nobody listens at {path}"
            hint = "start it there"
        case _:
            sentence = f"Incus on {name} can't be reached at {path}: {answer['message']}"
    return kind(name, sentence, hint)
