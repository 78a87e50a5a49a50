"""Waking those that wait: a row in the commit that gives them work, then a datagram.

The row is the truth, the datagram makes it quick. A sweep that finds work for which no wake came
counts it as a fault of ours (`counter.lost_wakes`).
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from sqlalchemy import insert

from pika_git.persistence.schema import WAKE

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

RING = "ring"
"""In a connection's `info`: the commit is followed by a datagram to every listener."""
MOST_BYTES = 64


def wake(connection: Connection, why: str, now: float) -> None:
    """Wake all once this transaction is committed."""
    connection.execute(insert(WAKE).values(at=now, why=why))
    connection.info[RING] = True


def ring(directory: Path) -> None:
    """Send a datagram to every listener; one that is gone or has enough of them is passed over."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        for path in directory.glob("*.sock"):
            with suppress(OSError):
                sender.sendto(b"wake", str(path))


class Listener:
    """Hears the wakes in a directory under a name of its own."""

    def __init__(self, directory: Path, name: str) -> None:
        self._path = directory / f"{name}.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        self._socket.settimeout(0)
        self._socket.bind(str(self._path))
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def fileno(self) -> int:
        """What to wait for."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Take all wakes that came; one look at the queue answers them together."""
        with suppress(BlockingIOError):
            while self._socket.recv(MOST_BYTES):
                pass
