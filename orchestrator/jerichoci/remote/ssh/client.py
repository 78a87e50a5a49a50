"""What asyncssh asks and reports while it connects to one hop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncssh
from asyncssh.packet import SSHPacket

if TYPE_CHECKING:
    from jerichoci.remote.ssh.proxy import ProxyCommand

BANNER_BYTES = 512
"""Of what the far end sends first, for a message."""
KEXINIT_HEAD_BYTES = 17
"""Before the lists of algorithms: what it is, and a random number."""
END_SECS = 0.5
"""From the end of a connection before the login to its report, if nothing else is wrong with it."""


class Client(asyncssh.SSHClient):
    """Checks a fingerprint, trusts no other key, and knows how far a connection came."""

    def __init__(self, fingerprint: str | None) -> None:
        self._fingerprint = fingerprint
        self.command: ProxyCommand | None = None
        self.has_begun = False
        self.logs_in = False
        """Whether the far end's key is right, and it is our turn."""
        self.refused: list[asyncssh.SSHKey] = []
        """Keys of the far end, or of its authority, that are not trusted."""
        self.is_authority = False
        self._banner = b""
        self._connection: asyncssh.SSHClientConnection | None = None

    def begin(self, command: ProxyCommand | None) -> None:
        """Begin to connect; again, if it is another kind of host key's turn."""
        self.command, self.has_begun, self.logs_in = command, True, False
        self._banner, self._connection = b"", None

    @property
    def is_connected(self) -> bool:
        """Whether something accepted the connection."""
        return self._connection is not None

    @property
    def is_ssh(self) -> bool:
        """Whether it speaks ssh."""
        connection = self._connection
        return connection is not None and bool(connection.get_extra_info("server_version"))

    @property
    def offered(self) -> list[str]:
        """The algorithms that the far end has for host keys, if it came to name them."""
        # asyncssh keeps them to itself.
        sent = self._connection._server_kexinit if self._connection else b""  # noqa: SLF001
        if not sent:
            return []
        lists = SSHPacket(sent[KEXINIT_HEAD_BYTES:])
        lists.get_namelist()
        return [name.decode() for name in lists.get_namelist()]

    @property
    def banner(self) -> str:
        """The first line that the far end sent, without what can't be printed."""
        line = self._banner.decode("utf-8", "replace").partition("\n")[0]
        return " ".join("".join(filter(str.isprintable, line)).split())

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Keep what the far end sends first, and hear all of it before its end."""
        self._connection = conn
        receive, lose = conn.data_received, conn.connection_lost

        def keep(data: bytes, datatype: asyncssh.DataType = None) -> None:
            self._banner += data[: BANNER_BYTES - len(self._banner)]
            receive(data, datatype)

        def lose_later(error: Exception | None = None) -> None:
            if self.logs_in:
                lose(error)
            else:
                # asyncssh works on what came before in tasks, and would forget what they find.
                asyncio.get_running_loop().call_later(END_SECS, lose, error)

        # asyncssh keeps both to itself.
        conn.data_received = keep  # type: ignore[method-assign]
        conn.connection_lost = lose_later  # type: ignore[method-assign, assignment]

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Trust a key that known_hosts doesn't have only for its fingerprint."""
        del host, addr, port
        if self._fingerprint == key.get_fingerprint():
            return True
        self.refused.append(key)
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Trust no authority but the known ones."""
        del host, addr, port
        self.refused.append(key)
        self.is_authority = True
        return False

    def begin_auth(self, username: str) -> None:
        """The far end's key is right."""
        del username
        self.logs_in = True
