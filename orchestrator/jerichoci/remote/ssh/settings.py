"""How to connect to a hop: what ssh's configuration and the hosts file say, as asyncssh has it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from jerichoci.remote.ssh.configuration import Configuration, ask
from jerichoci.remote.ssh.errors import HostSettingsError
from jerichoci.remote.ssh.known_hosts import SSH_PORT, KnownHosts
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jerichoci.remote.ssh.hop import Hop

KEEPALIVE_SECS = 5.0
"""Between two questions whether the far end is there."""
KEEPALIVE_COUNT = 3
"""Questions without an answer until the connection is given up."""

FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""Before all others that are allowed: through one channel on a CPU with AES instructions 510 MB/s,
where chacha20-poly1305 has 370 MB/s."""

REFUSED = ("BindInterface", "ProxyUseFdpass", "RevokedHostKeys")
"""Settings that pikaci can't apply, and without which it would be another connection."""

_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
_ALGORITHMS: dict[str, tuple[str, Callable[[], list[bytes]]]] = {
    "Ciphers": ("encryption_algs", get_encryption_algs),
    "KexAlgorithms": ("kex_algs", get_kex_algs),
    "MACs": ("mac_algs", get_mac_algs),
    "PubkeyAcceptedAlgorithms": ("signature_algs", get_public_key_algs),
    "HostKeyAlgorithms": (
        "server_host_key_algs",
        lambda: [*get_certificate_algs(), *get_public_key_algs()],
    ),
}
"""asyncssh's option for each of ssh's lists, and which algorithms asyncssh has."""


@dataclass(frozen=True)
class Settings:
    """How to connect to a hop."""

    config: Configuration
    address: str
    port: int
    user: str
    jump: str | None
    """`[user@]host[:port]` with commas between."""
    command: str | None
    """The `ProxyCommand`."""
    known_hosts: KnownHosts
    options: dict[str, Any]
    """For `asyncssh.connect`."""

    @property
    def endpoint(self) -> str:
        """Address and port, as people write them."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"


async def read_settings(hop: Hop) -> Settings:
    """The settings of a hop; the hosts file wins over ssh's configuration."""
    config = await ask(hop)
    for setting, why in _refused(config):
        raise HostSettingsError(
            hop.host,
            f"ssh's configuration for {hop.called} has `{setting}`, {why}",
            "limit it to other hosts, if this one works without it",
        )
    address = config.get("hostname") or hop.address
    port = config.number("port") or SSH_PORT
    jump, command = config.get("proxyjump"), config.get("proxycommand")
    bound = config.get("bindaddress")
    known_hosts = KnownHosts(
        address,
        port,
        config.get("hostkeyalias"),
        hop.config.fingerprint,
        _known_hosts_files(hop, config),
    )
    options = {
        **_algorithms(hop, config),
        "config": None,
        "family": _FAMILIES.get(config.get("addressfamily") or "", socket.AF_UNSPEC),
        "local_addr": (bound, 0) if bound else None,
        "tcp_keepalive": config.is_on("tcpkeepalive"),
        # Keys only: never a prompt, and no identity that was meant for something else.
        "preferred_auth": ["publickey"],
        "agent_path": None,
        "gss_host": None,
        "x509_trusted_certs": None,
        "host_key_alias": known_hosts.alias,
        "known_hosts": known_hosts.match,
        "compression_algs": ["none"],
        "keepalive_interval": KEEPALIVE_SECS,
        "keepalive_count_max": KEEPALIVE_COUNT,
        "login_timeout": 0,
    }
    options["server_host_key_algs"] = known_hosts.order(options["server_host_key_algs"])
    return Settings(
        config=config,
        address=address,
        port=port,
        user=config.get("user") or "",
        jump=jump and config.expanded(jump),
        command=config.expanded(command) if command and not jump else None,
        known_hosts=known_hosts,
        options=options,
    )


def _refused(config: Configuration) -> Iterator[tuple[str, str]]:
    """Settings with which pikaci can't connect as ssh does, and why."""
    for key in REFUSED:
        if config.get(key.lower()) not in {None, "no"}:
            yield f"{key} {config.get(key.lower())}", "which pikaci does not support"
    if config.get("pubkeyauthentication") in {"no", "false"}:
        yield "PubkeyAuthentication no", "and pikaci logs in with keys only"
    methods = config.get("preferredauthentications") or "publickey"
    if "publickey" not in methods.split(","):
        yield f"PreferredAuthentications {methods}", "and pikaci logs in with keys only"


def _algorithms(hop: Hop, config: Configuration) -> dict[str, Any]:
    """What ssh allows, as far as asyncssh has it."""
    options = {}
    for key, (option, known) in _ALGORITHMS.items():
        allowed = (config.get(key.lower()) or "").split(",")
        has = [name.decode() for name in known()]
        options[option] = [name for name in allowed if name in has]
        if not options[option]:
            raise HostSettingsError(
                hop.host,
                f"ssh's configuration for {hop.called} has `{key} {','.join(allowed)}`, and pikaci "
                "supports none of them",
                f"allow one of {', '.join(has)}",
            )
    options["encryption_algs"].sort(key=lambda name: name not in FAST_CIPHERS)
    return options


def _known_hosts_files(hop: Hop, config: Configuration) -> list[str]:
    named = [str(hop.config.known_hosts_path)] if hop.config.known_hosts else []
    users = config.listed_files("userknownhostsfile") if hop.is_jump or not named else []
    return [*named, *users, *config.listed_files("globalknownhostsfile")]
