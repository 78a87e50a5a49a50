"""What ssh's configuration and the hosts file together say of a hop."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from jerichoci.remote.ssh import configuration
from jerichoci.remote.ssh.errors import HostSettingsError
from jerichoci.remote.ssh.hop import SSH_PORT
from jerichoci.remote.ssh.hostkeys import HostKeys
from jerichoci.remote.ssh.keys import KeySettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from jerichoci.remote.ssh.configuration import Configuration
    from jerichoci.remote.ssh.hop import Hop

KEEPALIVE_SECS = 5.0
"""Between two questions whether the far end is there."""
KEEPALIVE_COUNT = 3
"""Questions without an answer until the connection is given up."""

FAST_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
"""Before all others, which stay: through one channel on a CPU with AES instructions 510 MB/s, where
chacha20-poly1305, asyncssh's first, has 370 MB/s."""

REFUSED = ("BindInterface", "ProxyUseFdpass", "RevokedHostKeys")
"""What can't be done, and makes a connection another one than it should be."""

_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
_CHOICES: dict[str, tuple[str, Callable[[], list[bytes]]]] = {
    "Ciphers": ("encryption_algs", get_encryption_algs),
    "KexAlgorithms": ("kex_algs", get_kex_algs),
    "MACs": ("mac_algs", get_mac_algs),
    "PubkeyAcceptedAlgorithms": ("signature_algs", get_public_key_algs),
    "HostKeyAlgorithms": (
        "server_host_key_algs",
        lambda: [*get_certificate_algs(), *get_public_key_algs()],
    ),
}
"""asyncssh's option for what ssh's configuration may choose, and which of it asyncssh has."""


@dataclass(frozen=True)
class Settings:
    """How to connect to a hop."""

    address: str
    port: int
    user: str
    jump: str | None
    """`[user@]host[:port]` with commas between."""
    command: str | None
    """The command that is the way."""
    host_keys: HostKeys
    has_keys_command: bool
    """Whether a command knows host keys, which nobody asks."""
    login: KeySettings
    connect_secs: int
    """What ssh's configuration says of the time that it takes; 0 if nothing."""
    options: dict[str, Any]
    """For `asyncssh.connect`."""


async def read_settings(hop: Hop) -> Settings:
    """What is said of a hop; the hosts file wins over ssh's configuration.

    Raises:
        HostSettingsError: ssh's configuration is wrong, or asks for what we can't do.
        UnreachableHostError: ssh doesn't say what its configuration is.
    """
    said, usual = await asyncio.gather(configuration.ask(hop), configuration.defaults(hop))
    for key in REFUSED:
        if said.get(key.lower()) not in {None, "no"}:
            raise HostSettingsError(
                hop.host,
                f"ssh's configuration for {hop.called} has `{key} {said.get(key.lower())}`, "
                "which pikaci can't do",
                "have it apply to other hosts only, if this one will do without",
            )
    jump = None if hop.continues else hop.proxy_jump or said.get("proxyjump")
    jump = None if jump == "none" else jump
    command = None if hop.continues else said.get("proxycommand")
    return Settings(
        address=said.get("hostname") or hop.address,
        port=hop.port or said.number("port") or SSH_PORT,
        user=hop.user or said.get("user") or "",
        jump=jump and said.expanded(jump),
        command=said.expanded(command) if command and not jump else None,
        host_keys=HostKeys(hop.fingerprint, _known_hosts(hop, said), said.get("hostkeyalias")),
        has_keys_command=said.get("knownhostscommand") is not None,
        login=KeySettings.of(said),
        connect_secs=said.number("connecttimeout") or 0,
        options=_options(hop, said, usual),
    )


def _options(hop: Hop, said: Configuration, usual: Configuration) -> dict[str, Any]:
    bound = said.get("bindaddress")
    return {
        "encryption_algs": FAST_CIPHERS,
        **_chosen(hop, said, usual),
        "config": None,
        "family": _FAMILIES.get(said.get("addressfamily") or "", socket.AF_UNSPEC),
        "local_addr": (bound, 0) if bound else None,
        "tcp_keepalive": said.is_on("tcpkeepalive"),
        "proxy_command": None,
        # Public keys, and nothing that asks or that shows who we are elsewhere.
        "preferred_auth": ["publickey"],
        "password_auth": False,
        "kbdint_auth": False,
        "host_based_auth": False,
        "gss_host": None,
        "gss_kex": False,
        "gss_auth": False,
        "client_keys": None,
        "x509_trusted_certs": [],
        "x509_trusted_cert_paths": [],
        # A job's environment is the plan's, not that of whoever configured ssh for a terminal.
        "request_pty": False,
        "compression_algs": ["none"],
        "keepalive_interval": KEEPALIVE_SECS,
        "keepalive_count_max": KEEPALIVE_COUNT,
        "login_timeout": 0,
    }


def _chosen(hop: Hop, said: Configuration, usual: Configuration) -> dict[str, list[str]]:
    """The algorithms that somebody chose, as far as asyncssh has them."""
    chosen = {}
    for key, (option, known) in _CHOICES.items():
        wanted = said.get(key.lower())
        if wanted is None or wanted == usual.get(key.lower()):
            continue
        has = {name.decode() for name in known()}
        chosen[option] = [name for name in wanted.split(",") if name in has]
        if not chosen[option]:
            common = (usual.get(key.lower()) or "").split(",")
            raise HostSettingsError(
                hop.host,
                f"ssh's configuration for {hop.called} has `{key} {wanted}`, none of which "
                "pikaci knows",
                f"allow one of {', '.join(name for name in common if name in has)}",
            )
    return chosen


def _known_hosts(hop: Hop, said: Configuration) -> list[str]:
    named = [str(hop.known_hosts)] if hop.known_hosts else []
    users = said.listed_files("userknownhostsfile") if hop.is_jump or not named else []
    return [*named, *users, *said.listed_files("globalknownhostsfile")]
