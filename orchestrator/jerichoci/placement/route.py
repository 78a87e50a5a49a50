"""The route to a daemon's socket. The route to another machine may break and come back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class Route(Protocol):
    """A route to a socket; its methods are called from threads."""

    @property
    def socket(self) -> Path:
        """The socket here to connect to."""

    @property
    def where(self) -> str:
        """Where it leads, for people: `at` a socket, or `on` a host."""

    @property
    def is_up(self) -> bool:
        """Whether requests arrive, as far as is known."""

    @property
    def last_failure(self) -> str | None:
        """Why the last request did not arrive, if the route knows better than its user."""

    def clock(self) -> float:
        """Seconds, not counting those in which the route was down."""

    def wait_until_up(self) -> None:
        """Wait until requests arrive.

        Raises:
            InfrastructureError: the route will not come back.
        """


@dataclass(frozen=True)
class LocalRoute:
    """The route to a socket of this machine, which is always up."""

    socket: Path
    is_up: bool = True
    last_failure: str | None = None
    """Not known before a connection attempt."""

    @property
    def where(self) -> str:
        """The socket's path."""
        return f"at {self.socket}"

    def clock(self) -> float:
        """The machine's clock."""
        return time.monotonic()

    def wait_until_up(self) -> None:
        """Return at once."""
