"""Connections to far hosts, without anything of the orchestrator's."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncssh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from remote.far_host import FarHost

CONNECT_SECS = 20
COMMAND_SECS = 60


@asynccontextmanager
async def connected(host: FarHost) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection of the key that may log in, to the host key that is known."""
    key = asyncssh.import_public_key(host.known_hosts_line.partition(" ")[2])
    async with asyncssh.connect(
        host.address,
        host.port,
        username="root",
        client_keys=[str(host.client_key)],
        known_hosts=([key], [], []),
        config=None,
        connect_timeout=CONNECT_SECS,
    ) as connection:
        yield connection


async def told(connection: asyncssh.SSHClientConnection, command: str) -> str:
    """What a command prints, which must pass."""
    done = await connection.run(command, check=True, timeout=COMMAND_SECS)
    return str(done.stdout).strip()
