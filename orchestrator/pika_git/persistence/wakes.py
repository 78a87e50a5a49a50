"""Waking those that wait: a row in the commit that gives them work, then a datagram.

The row is the truth, the datagram makes it quick. A sweep that finds work for which no wake came
counts it as a fault of the forge (`counter.lost_wakes`).
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

RING = "ring"
"""In a connection's `info`: the commit is followed by a datagram to every listener."""
MOST_BYTES = 64
LONGEST_DIRECTORY = 40
"""The kernel takes 108 bytes of a socket's path, macOS 104, and names may be 64 long."""

_ADD = text("INSERT INTO wake (at, why) VALUES (:now, :why)")


def wake(connection: Connection, why: str, now: float) -> None:
    """Wake all once this transaction is committed."""
    connection.execute(_ADD, {"now": now, "why": why})
    connection.info[RING] = True


def ring(directory: Path) -> None:
    """Send a datagram to every listener; one that is gone or has enough of them is passed over."""
    with (
        suppress(OSError),
        near(directory) as short,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        sender.settimeout(0)
        for path in short.glob("*.sock"):
            with suppress(OSError):
                sender.sendto(b"wake", str(path))


@contextmanager
def near(directory: Path) -> Iterator[Path]:
    """The directory, by an address that is short enough for sockets in it."""
    if len(os.fsencode(directory)) < LONGEST_DIRECTORY:
        yield directory
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


class Listener:
    """Hears the wakes in a directory under a name of its own."""

    def __init__(self, directory: Path, name: str) -> None:
        self._path = directory / f"{name}.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        self._socket.settimeout(0)
        with near(self._path.parent) as its:
            self._socket.bind(str(its / self._path.name))
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
