"""Which Incus a host's guests are made in: its socket, the project, the profile, the pool."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "/var/lib/incus/unix.socket"
SERVICE_SOCKET = "/run/incus/unix.socket"
PROJECT = "pikaci"


@dataclass(frozen=True)
class IncusSettings:
    """Where guests are made; None leaves it to Incus."""

    socket: str | None = None
    project: str = PROJECT
    profile: str = "default"
    pool: str | None = None

    def socket_path(self, env: Mapping[str, str] | None = None) -> Path:
        """The daemon's socket on this machine."""
        env = os.environ if env is None else env
        if self.socket:
            return Path(self.socket)
        if env.get("INCUS_SOCKET"):
            return Path(env["INCUS_SOCKET"])
        if env.get("INCUS_DIR"):
            return Path(env["INCUS_DIR"]) / "unix.socket"
        service = Path(SERVICE_SOCKET)
        return service if service.exists() else Path(SOCKET)
