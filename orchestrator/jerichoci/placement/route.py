"""The way to a daemon's socket. The one to another machine may break, and be mended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class Way(Protocol):
    """A way; called from threads."""

    @property
    def where(self) -> str:
        """Where it leads to, for people: `at` a socket, or `on` a host."""

    @property
    def is_whole(self) -> bool:
        """Whether requests get there, as far as is known."""

    @property
    def trouble(self) -> str | None:
        """Why the last request that got nowhere didn't, if that is known better here."""

    def clock(self) -> float:
        """Seconds, which don't go by while the way is known to be broken."""

    def mended(self) -> None:
        """Wait until it is whole.

        Raises:
            InfrastructureError: it won't be any more.
        """


@dataclass(frozen=True)
class OwnWay:
    """The way to a socket of this machine."""

    socket: Path

    @property
    def where(self) -> str:
        """The socket's path."""
        return f"at {self.socket}"

    @property
    def is_whole(self) -> bool:
        """Nothing here can break."""
        return True

    @property
    def trouble(self) -> str | None:
        """Whoever connects sees that himself."""
        return None

    def clock(self) -> float:
        """The machine's."""
        return time.monotonic()

    def mended(self) -> None:
        """At once."""
