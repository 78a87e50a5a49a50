"""One step on the way to a host: the host itself, or a jump host before it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jerichoci.remote.ssh.errors import HostSettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.plan.hosts import RemoteHost

_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>.+)@)?(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^@:\[\]]+))"
    r"(?::(?P<port>\d{1,5}))?/?"
)


@dataclass(frozen=True)
class Hop:
    """Where to connect to, as the hosts file has it; None leaves it to ssh's configuration."""

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

    def jump(self, text: str) -> Hop:
        """The hop before this one: the last of `[user@]host[:port]` with commas between."""
        before, _, word = text.rpartition(",")
        found = _JUMP.fullmatch(word.strip())
        if found is None:
            raise HostSettingsError(
                self.host,
                f"invalid jump host {word!r} for {self.called}",
                "write `[user@]host[:port]`",
            )
        address = found["bracketed"] or found["plain"]
        return Hop(
            host=self.host,
            called=f"the jump host {address} of {self.host}",
            address=address,
            port=int(found["port"]) if found["port"] else None,
            user=found["user"],
            key=self.key,
            known_hosts=self.known_hosts,
            proxy_jump=before or None,
            is_jump=True,
        )
