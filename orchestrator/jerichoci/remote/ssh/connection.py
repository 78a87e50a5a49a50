"""A connection to a host: its key is always checked, we log in with keys, and nothing prompts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncssh

from jerichoci.remote.ssh.channel import opened
from jerichoci.remote.ssh.client import Client
from jerichoci.remote.ssh.errors import HostSettingsError
from jerichoci.remote.ssh.failure import Failure
from jerichoci.remote.ssh.hop import Hop
from jerichoci.remote.ssh.keys import login_keys
from jerichoci.remote.ssh.proxy import ProxyCommand
from jerichoci.remote.ssh.settings import Settings, read_settings

if TYPE_CHECKING:
    from jerichoci.plan.hosts import RemoteHost

CONNECT_SECS = 15.0
"""For one hop: to find it, to reach it, to shake hands and to log in."""
CLOSE_SECS = 5.0


async def connect(host: RemoteHost) -> asyncssh.SSHClientConnection:
    """Connect and log in, each hop within `CONNECT_SECS`; a HostError says why not.

    Closing the connection closes those to its jump hosts.
    """
    return await _connected(Hop.to(host), ())


async def close(connection: asyncssh.SSHClientConnection) -> None:
    """Close a connection, at the latest after `CLOSE_SECS`."""
    connection.close()
    try:
        async with asyncio.timeout(CLOSE_SECS):
            await connection.wait_closed()
    except (TimeoutError, OSError):
        connection.abort()


async def _connected(hop: Hop, before: tuple[Hop, ...]) -> asyncssh.SSHClientConnection:
    settings = await read_settings(hop)
    if not settings.jump:
        return await _logged_in(hop, settings, None)
    jump = hop.jump(settings.jump)
    if any(
        (jump.address, jump.config.port) == (other.address, other.config.port)
        for other in (hop, *before)
    ):
        raise HostSettingsError(
            hop.host,
            f"the way to {hop.host} goes through {jump.address} more than once",
            "change `ProxyJump` in ssh's configuration: `none` is right for the jump host itself",
        )
    through = await _connected(jump, (hop, *before))
    try:
        connection = await _logged_in(hop, settings, through)
    except BaseException:
        await close(through)
        raise
    connection.set_tunnel(through)
    return connection


async def _logged_in(
    hop: Hop, settings: Settings, through: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    client = Client(hop.config.fingerprint)
    failure = Failure(hop, settings, client)
    secs = max(CONNECT_SECS, settings.config.number("connecttimeout"))
    try:
        async with asyncio.timeout(secs), login_keys(hop, settings.config) as failure.keys:
            options = {
                **settings.options,
                # An empty list would mean the keys in ~/.ssh.
                "client_keys": failure.keys.pairs or None,
                "client_factory": lambda: client,
                "tunnel": through,
            }
            try:
                return await _shaken_hands(settings, client, options)
            except (OSError, ValueError, asyncssh.Error) as error:
                raise failure.error_of(error) from error
    except TimeoutError as error:
        raise failure.late(secs) from error


async def _shaken_hands(
    settings: Settings, client: Client, options: dict[str, Any]
) -> asyncssh.SSHClientConnection:
    """Shake hands; where only a fingerprint is known, once for each kind of key the host has.

    A fingerprint doesn't tell of which kind its key is.
    """
    while True:
        ours = options["server_host_key_algs"]
        try:
            return await _reached(settings, client, options)
        except asyncssh.HostKeyNotVerifiable:
            refused = {name.decode() for key in client.refused for name in key.sig_algorithms}
            left = [name for name in ours if name in client.offered and name not in refused]
            if not settings.known_hosts.fingerprint or not left:
                raise
            options["server_host_key_algs"] = left
        except (asyncssh.DisconnectError, OSError) as error:
            # asyncssh leaves it to the far end to see this, which hangs up.
            if client.offered and not set(client.offered) & set(ours):
                raise asyncssh.KeyExchangeFailed(
                    f"No matching host key algorithm found, sent {','.join(ours)} and received "
                    f"{','.join(client.offered)}"
                ) from error
            raise


async def _reached(
    settings: Settings, client: Client, options: dict[str, Any]
) -> asyncssh.SSHClientConnection:
    client.begin(ProxyCommand(settings.command) if settings.command else None)
    command = client.command
    try:
        connection = await opened(
            asyncssh.connect(
                settings.address,
                settings.port,
                username=settings.user,
                sock=command and command.socket,
                **options,
            )
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
