"""One step on the way to a host: the host itself, or a jump host before it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jerichoci.remote.ssh.errors import HostSettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.plan.hosts import RemoteHost

SSH_PORT = 22

_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>.+)@)?(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^@:\[\]]+))"
    r"(?::(?P<port>\d{1,5}))?/?"
)


@dataclass(frozen=True)
class Hop:
    """Where to connect to, and what is said of it; None leaves it to ssh's configuration."""

    host: str
    """The name of the host at the end of the way."""
    called: str
    """What messages call this hop."""
    address: str
    port: int | None = None
    user: str | None = None
    key: Path | None = None
    fingerprint: str | None = None
    known_hosts: Path | None = None
    proxy_jump: str | None = None
    is_jump: bool = False
    continues: bool = False
    """Whether a jump host comes before it that is connected to already."""

    @classmethod
    def to(cls, host: RemoteHost) -> Hop:
        """The last hop."""
        config = host.config
        return cls(
            host=host.name,
            called=host.name,
            address=host.address,
            port=config.port,
            user=config.user,
            key=config.key_path,
            fingerprint=config.fingerprint,
            known_hosts=config.known_hosts_path,
            proxy_jump=config.proxy_jump,
        )

    def jumps(self, text: str) -> list[Hop]:
        """The hops before this one, of `[user@]host[:port]` with commas between.

        Raises:
            HostSettingsError: it is something else.
        """
        words = text.split(",")
        return [self._jump(word.strip(), first=place == 0) for place, word in enumerate(words)]

    def _jump(self, word: str, *, first: bool) -> Hop:
        found = _JUMP.fullmatch(word)
        if found is None:
            raise HostSettingsError(
                self.host,
                f"{word!r} is no jump host for {self.called}",
                "write `[user@]host[:port]`",
            )
        return Hop(
            host=self.host,
            called=f"the jump host {found['bracketed'] or found['plain']} of {self.host}",
            address=found["bracketed"] or found["plain"],
            port=int(found["port"]) if found["port"] else None,
            user=found["user"],
            key=self.key,
            known_hosts=self.known_hosts,
            is_jump=True,
            continues=not first,
        )


def looping(host: str, address: str) -> HostSettingsError:
    """The error to raise for a way to a host that goes through an address twice."""
    return HostSettingsError(
        host,
        f"the way to {host} goes through {address} more than once",
        "change `ProxyJump` in ssh's configuration: `none` is right for the jump host itself",
    )


def endpoint(address: str, port: int) -> str:
    """An address and a port as people write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
