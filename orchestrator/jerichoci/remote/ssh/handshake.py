"""Shaking hands with one hop, within a deadline, and what to say when that fails."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncssh

from jerichoci.remote.ssh import hostkeys
from jerichoci.remote.ssh.failure import Failure
from jerichoci.remote.ssh.keys import login_keys
from jerichoci.remote.ssh.proxy import ProxyCommand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.remote.ssh.hop import Hop
    from jerichoci.remote.ssh.hostkeys import HostKeys
    from jerichoci.remote.ssh.keys import LoginKeys
    from jerichoci.remote.ssh.settings import Settings

CONNECT_SECS = 15.0
"""For one hop: to find it, to reach it, to shake hands and to log in."""
HEARD_BYTES = 512
"""Of what is said before anything, for a message."""


class Handshake(asyncssh.SSHClient):
    """What asyncssh asks and tells while it connects."""

    def __init__(
        self,
        host_keys: HostKeys,
        pairs: Sequence[asyncssh.SSHKeyPair],
        command: ProxyCommand | None,
    ) -> None:
        self.command = command
        """The way, if it is a command."""
        self.heard = b""
        """What the far end says first, or says in place of its name as an ssh server."""
        self._host_keys = host_keys
        self._to_offer = list(pairs)
        self._connection: asyncssh.SSHClientConnection | None = None
        self.refused: asyncssh.SSHKey | None = None
        """The far end's key, or that of its authority, if nobody knows it."""
        self.is_certified = False
        """Whether `refused` is an authority's."""
        self.logs_in = False
        """Whether the far end is who it should be, and it is our turn."""

    @property
    def is_connected(self) -> bool:
        """Whether somebody is there at all."""
        return self._connection is not None

    @property
    def is_ssh(self) -> bool:
        """Whether whoever is there speaks ssh."""
        connection = self._connection
        return connection is not None and bool(connection.get_extra_info("server_version"))

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Somebody is there."""
        self._connection = conn
        receive = conn.data_received

        def hear(data: bytes, datatype: asyncssh.DataType = None) -> None:
            self.heard += data[: HEARD_BYTES - len(self.heard)]
            receive(data, datatype)

        conn.data_received = hear  # type: ignore[method-assign] # asyncssh keeps it to itself

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Judge a key that isn't among the known ones."""
        del host, addr, port
        if self._host_keys.accepts(key):
            return True
        self.refused = key
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Trust no authority but the known ones."""
        del host, addr, port
        self.refused = key
        self.is_certified = True
        return False

    def begin_auth(self, username: str) -> None:
        """The far end is who it should be."""
        del username
        self.logs_in = True

    def public_key_auth_requested(self) -> asyncssh.SSHKeyPair | None:
        """The next key to offer."""
        return self._to_offer.pop(0) if self._to_offer else None


async def log_in(
    hop: Hop, settings: Settings, through: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    """Connect to a hop, through the one before it if there is one.

    Raises:
        HostError: as `connection.connect` says.
    """
    tries: list[Handshake] = []
    secs = max(CONNECT_SECS, settings.connect_secs)
    try:
        async with asyncio.timeout(secs), login_keys(hop, settings.login) as keys:
            try:
                return await _shake_hands(settings, keys, through, tries)
            except (OSError, ValueError, asyncssh.Error) as error:
                raise Failure(hop, settings, tries, keys).told(error) from error
    except TimeoutError as error:
        raise Failure(hop, settings, tries).of_deadline(secs) from error


async def _shake_hands(
    settings: Settings,
    keys: LoginKeys,
    through: asyncssh.SSHClientConnection | None,
    tries: list[Handshake],
) -> asyncssh.SSHClientConnection:
    """Shake hands; if only a fingerprint is known, once for every kind of host key.

    A fingerprint doesn't say of which kind its key is, and a host has one of each.
    """
    host_keys = settings.host_keys
    refused: list[str] = []
    while True:
        command = ProxyCommand(settings.command) if settings.command else None
        handshake = Handshake(host_keys, keys.pairs, command)
        tries.append(handshake)
        options: dict[str, Any] = {
            **settings.options,
            "known_hosts": host_keys.match,
            "client_factory": partial(_same, handshake),
            "tunnel": through,
            "sock": command and command.socket,
        }
        if refused or "server_host_key_algs" not in options:
            options["server_host_key_algs"] = host_keys.algorithms(
                settings.address, settings.port, without=refused
            )
        try:
            return await _connected(settings, options, command)
        except asyncssh.HostKeyNotVerifiable:
            if not host_keys.fingerprint or handshake.refused is None:
                raise
            refused.append(hostkeys.family_of(handshake.refused.get_algorithm()))
            if set(hostkeys.FAMILIES) <= set(refused):
                raise
        except (asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost, ConnectionResetError) as error:
            # An end that has no key of the other kinds may be the first to say so, by hanging up.
            if not refused or not handshake.is_ssh:
                raise
            raise asyncssh.HostKeyNotVerifiable("no key has the fingerprint") from error


async def _connected(
    settings: Settings, options: dict[str, Any], command: ProxyCommand | None
) -> asyncssh.SSHClientConnection:
    try:
        connection = await asyncssh.connect(
            settings.address, settings.port, username=settings.user, **options
        )
    except BaseException:
        if command:
            command.socket.close()
            command.close()
            await command.wait_closed()
        raise
    if command:
        connection.set_tunnel(command)
    return connection


def _same(handshake: Handshake) -> Handshake:
    return handshake
