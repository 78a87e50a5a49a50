"""What `tart exec` and the guest agent say to each other: a letter, a length and bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

READY, REQUEST, ORDER = b"r", b"q", b"!"
STDIN, STDOUT, STDERR = b"0", b"1", b"2"
EXIT, ERROR = b"x", b"e"

HEAD = struct.Struct("!cI")
CHUNK = 4096


def send(connection: socket.socket, kind: bytes, data: bytes = b"") -> None:
    connection.sendall(HEAD.pack(kind, len(data)) + data)


def receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """The next one; EOFError when the other end is gone."""
    kind, length = HEAD.unpack(_exactly(connection, HEAD.size))
    return kind, _exactly(connection, length)


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        try:
            more = connection.recv(length - len(data))
        except ConnectionResetError as error:
            raise EOFError from error
        if not more:
            raise EOFError
        data += more
    return data
