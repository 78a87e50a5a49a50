"""What ssh's configuration and the hosts file together say of a hop."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh

from jerichoci.ssh.errors import HostSettingsError
from jerichoci.ssh.hostkeys import GLOBAL_FILES, USER_FILES, HostKeys
from jerichoci.ssh.keys import KeySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.ssh.hop import Hop

CONFIG_FILES = ("~/.ssh/config", "/etc/ssh/ssh_config")

KEEPALIVE_SECS = 5.0
"""Between two questions whether the far end is there."""
KEEPALIVE_COUNT = 3
"""Questions without an answer until the connection is given up."""

FAST_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
"""Before all others, which stay: through one channel on a CPU with AES instructions 510 MB/s, where
chacha20-poly1305, asyncssh's first, has 370 MB/s."""


@dataclass(frozen=True)
class Settings:
    """How to connect to a hop."""

    address: str
    port: int
    user: str
    jump: str | None
    """`[user@]host[:port]` with commas between."""
    host_keys: HostKeys
    login: KeySettings
    chooses_host_keys: bool
    """Whether ssh's configuration says which kinds of host keys there may be."""
    options: dict[str, Any]
    """For `asyncssh.connect`."""


async def read_settings(hop: Hop) -> Settings:
    """What is said of a hop; the hosts file wins over ssh's configuration.

    Raises:
        HostSettingsError: ssh's configuration is wrong.
    """
    options = _options(hop)
    try:
        # In a thread: `Match exec` runs programs.
        found = await asyncio.to_thread(
            asyncssh.SSHClientConnectionOptions, host=hop.address, **options
        )
    except (ValueError, OSError, asyncssh.Error) as error:
        raise HostSettingsError(
            hop.host,
            f"ssh's configuration for {hop.called} is wrong: {error}",
            f"see what `ssh -G {hop.address}` says of it",
        ) from error
    config = found.config
    options["port"] = found.port
    if config.get("Ciphers") is None:
        options["encryption_algs"] = FAST_CIPHERS
    jump = None if hop.continues else hop.proxy_jump or config.get("ProxyJump")
    command = config.get("ProxyCommand")
    if command and not jump and not hop.continues:
        options["proxy_command"] = _proxy_command(str(command))
    alias = config.get("HostKeyAlias")
    return Settings(
        address=found.host,
        port=found.port,
        user=found.username,
        jump=str(jump) if jump else None,
        host_keys=HostKeys(
            hop.fingerprint, _known_hosts(hop, config), str(alias) if alias else None
        ),
        login=KeySettings.of(config),
        chooses_host_keys=config.get("HostKeyAlgorithms") is not None,
        options=options,
    )


def _options(hop: Hop) -> dict[str, Any]:
    return {
        "config": _config_files(),
        "port": hop.port or (),
        "username": hop.user or (),
        "tunnel": None,
        "proxy_command": None,
        "known_hosts": (),
        # Public keys, and nothing that asks or that shows who we are elsewhere.
        "preferred_auth": ["publickey"],
        "password_auth": False,
        "kbdint_auth": False,
        "host_based_auth": False,
        "client_host_keysign": False,
        "gss_host": None,
        "gss_kex": False,
        "gss_auth": False,
        "client_keys": None,
        "client_certs": [],
        "agent_identities": None,
        "agent_forwarding": False,
        "pkcs11_provider": None,
        "x509_trusted_certs": [],
        "x509_trusted_cert_paths": [],
        # A job's environment is the plan's, not that of whoever configured ssh for a terminal.
        "command": None,
        "env": None,
        "send_env": None,
        "request_pty": False,
        "x11_forwarding": False,
        "compression_algs": ["none"],
        "keepalive_interval": KEEPALIVE_SECS,
        "keepalive_count_max": KEEPALIVE_COUNT,
        "connect_timeout": None,
        "login_timeout": 0,
    }


def _config_files() -> list[str]:
    paths = [Path(name).expanduser() for name in CONFIG_FILES]
    return [str(path) for path in paths if os.access(path, os.R_OK)]


def _known_hosts(hop: Hop, config: asyncssh.config.SSHConfig) -> list[str]:
    system = config.get("GlobalKnownHostsFile")
    theirs = config.get("UserKnownHostsFile")
    # `UserKnownHostsFile none` is no list of files: nothing is known then, not everything.
    usual = _files(theirs, USER_FILES)
    named = [str(hop.known_hosts)] if hop.known_hosts else []
    users = usual if hop.is_jump or not named else []
    return [*named, *users, *_files(system, GLOBAL_FILES)]


def _files(setting: object, usual: Sequence[str]) -> list[str]:
    return [str(name) for name in setting] if isinstance(setting, list) else list(usual)


def _proxy_command(command: str) -> list[str]:
    # What it has to say would get in between what the far end says, and asyncssh takes the end of
    # its stderr for the end of the connection.
    return ["/bin/sh", "-c", f"exec 3>&2 2>/dev/null; exec {command}"]
