"""A connection to a host: its key is always checked, and we are always known by ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jerichoci.remote.ssh.hop import Hop, looping

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

    from jerichoci.plan.hosts import RemoteHost

CLOSE_SECS = 5.0
"""For a jump host to say goodbye, when the host behind it can't be reached."""


async def connect(host: RemoteHost) -> SSHClientConnection:
    """Connect and log in; whoever calls it closes the connection, jump hosts go with it.

    Every hop has `handshake.CONNECT_SECS`. There is no prompt for anything, ever.

    Raises:
        HostKeyError: the far end's key is unknown, revoked or another than expected.
        AuthenticationError: the far end accepts none of our keys.
        KeyFileError: the key that is asked for can't be used.
        HostSettingsError: ssh's configuration is wrong, or has nothing in common with the far end.
        UnreachableHostError: the host doesn't answer, or not as an ssh server; worth another try.
    """
    return await _connected(Hop.to(host), None, ())


async def _connected(
    hop: Hop, through: SSHClientConnection | None, before: tuple[Hop, ...]
) -> SSHClientConnection:
    """Connect to one hop; `through` is closed with the connection, or if there is none."""
    from jerichoci.remote.ssh.handshake import log_in
    from jerichoci.remote.ssh.settings import read_settings

    try:
        settings = await read_settings(hop)
        for jump in hop.jumps(settings.jump) if settings.jump else ():
            _check_no_loop(jump, (*before, hop))
            through = await _connected(jump, through, (*before, hop))
        connection = await log_in(hop, settings, through)
    except BaseException:
        if through:
            await _closed(through)
        raise
    if through:
        connection.set_tunnel(through)
    return connection


def _check_no_loop(jump: Hop, before: tuple[Hop, ...]) -> None:
    if any((jump.address, jump.port) == (hop.address, hop.port) for hop in before):
        raise looping(jump.host, jump.address)


async def _closed(connection: SSHClientConnection) -> None:
    connection.close()
    try:
        async with asyncio.timeout(CLOSE_SECS):
            await connection.wait_closed()
    except TimeoutError:
        connection.abort()
