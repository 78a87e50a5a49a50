"""One step on the way to a host: the host itself, or a jump host before it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jerichoci.remote.ssh.errors import HostSettingsError
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from jerichoci.plan.hosts import HostConfig, RemoteHost

_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>.+)@)?(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^@:\[\]]+))"
    r"(?::(?P<port>\d{1,5}))?/?"
)


@dataclass(frozen=True)
class Hop:
    """Where to connect to, and what the hosts file says of it."""

    host: str
    """The name of the host at the end of the way."""
    called: str
    """What messages call this hop."""
    address: str
    config: HostConfig

    @classmethod
    def to(cls, host: RemoteHost) -> Hop:
        """The last hop."""
        return cls(host.name, host.name, host.address, host.config)

    @property
    def is_jump(self) -> bool:
        """Whether it is a jump host."""
        return self.called != self.host

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
        config = self.config.with_(
            port=int(found["port"]) if found["port"] else None,
            user=found["user"],
            fingerprint=None,
            proxy_jump=before or None,
        )
        return Hop(self.host, f"the jump host {address} of {self.host}", address, config)
