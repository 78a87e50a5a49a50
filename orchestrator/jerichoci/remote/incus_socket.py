"""The Incus of a remote host, at a socket here."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError
from jerichoci.placement import INCUS_SERVICE_SOCKET, INCUS_SOCKET
from jerichoci.remote.agent.agent_operations import SocketProbe, probe_socket
from jerichoci.remote.ssh.channel import opened
from jerichoci.remote.ssh.errors import HostSetupError
from jerichoci.remote.ssh.forward import OPEN_SECS, Forward, forwarded_socket
from jerichoci.remote.ssh.socket_directory import socket_directory
from jerichoci.runtime.incus.api import UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from jerichoci.remote.session import Session

POLL_SECS = 0.1
"""Between two looks whether a session is up again."""


class AbsentIncusError(HostSetupError):
    """The host has no Incus, or not where pikaci looked for it."""


class SshRoute:
    """A route from `socket` here to the socket `there` of a session's host."""

    def __init__(self, session: Session, socket: Path, there: str, forward: Forward) -> None:
        self.socket = socket
        self.there = there
        self._session = session
        self._forward = forward
        self._is_closed = threading.Event()
        self._clock_lock = threading.Lock()
        self._down_since: float | None = None
        self._down_secs = 0.0

    @property
    def where(self) -> str:
        return f"on {self._session.name}"

    @property
    def is_up(self) -> bool:
        return self._session.is_up and not self._is_closed.is_set()

    @property
    def last_failure(self) -> str | None:
        """Why the last forwarded connection failed."""
        last = self._forward.failure
        return last.message if isinstance(last, PikaciError) else None

    def close(self) -> None:
        """Have no thread wait for it any more."""
        self._is_closed.set()

    def clock(self) -> float:
        """Seconds, not counting those in which the session was not connected."""
        with self._clock_lock:
            now = time.monotonic()
            if not self._session.is_up:
                self._down_since = self._down_since or now
            elif self._down_since is not None:
                self._down_secs += now - self._down_since
                self._down_since = None
            return (self._down_since or now) - self._down_secs

    def wait_until_up(self) -> None:
        while not self.is_up:
            if self._session.lost is not None:
                raise self._session.lost
            if self._is_closed.is_set():
                raise UnreachableError(f"the connection to Incus {self.where} was closed")
            self.clock()
            time.sleep(POLL_SECS)


@asynccontextmanager
async def ssh_route(session: Session, known: str | None) -> AsyncIterator[SshRoute]:
    """A route to the Incus of a session's host; `known` is its socket there, if it is named."""
    there = await _find(session, [known] if known else [INCUS_SERVICE_SOCKET, INCUS_SOCKET])
    with socket_directory() as directory:
        socket = directory / "incus"
        async with forwarded_socket(session.connection, there, socket) as forward:
            route = SshRoute(session, socket, there, forward)
            try:
                yield route
            finally:
                route.close()


async def _find(session: Session, places: Sequence[str]) -> str:
    """The first of the sockets that accepts a connection."""
    while True:
        breaks = session.breaks
        found = await asyncio.gather(*(_accepts(session, path) for path in places))
        if True in found:
            return places[found.index(True)]
        # The host knows the reason better.
        answers = [await session.do(probe_socket, Path(path)) for path in places]
        if session.breaks == breaks:
            raise _refusal(session, list(zip(places, answers, strict=True)))


async def _accepts(session: Session, path: str) -> bool:
    import asyncssh

    connection = await session.connection()
    try:
        async with asyncio.timeout(OPEN_SECS):
            opening = connection.open_unix_connection(path, encoding=None)
            _, writer = await opened(opening)
    except (asyncssh.Error, OSError, TimeoutError):
        return False
    writer.close()
    return True


def _refusal(session: Session, answers: Sequence[tuple[str, SocketProbe]]) -> HostSetupError:
    """Why none of a host's sockets accepts a connection."""
    name = session.name
    existing = [found for found in answers if found[1].errno != errno.ENOENT]
    path, answer = next(iter(existing), answers[-1])
    hint: str | None = None
    match answer.errno:
        case 0:
            sentence = f"sshd on {name} refuses to forward the socket {path}"
            hint = (
                "its sshd_config must have `AllowStreamLocalForwarding yes` or `local`, and our key"
                " no `restrict` without `port-forwarding`"
            )
        case errno.ENOENT:
            return AbsentIncusError(
                name,
                f"{name} has no Incus: there is no socket {path}",
                f"install and start Incus on {name}, or name its socket:"
                f" [hosts.{name}.incus] socket",
            )
        case errno.EACCES | errno.EPERM:
            sentence = f"no permission to use Incus on {name}: {path}"
            hint = f"join the group that owns the socket on {name} (usually `incus-admin`)"
        case errno.ECONNREFUSED:
            sentence = f"Incus on {name} is not running: {path} refuses connections"
            hint = f"start Incus on {name}"
        case _:
            sentence = f"Incus on {name} can't be reached at {path}: {answer.message}"
    return HostSetupError(name, sentence, hint)
