"""Which Incus a host's guests are made in: its socket, the project, the profile, the pool.

From `[local.incus]` or `[hosts.NAME.incus]` in the hosts file; every key is optional:

    [local.incus]
    socket = "/var/lib/incus/unix.socket"   # else INCUS_SOCKET, INCUS_DIR, or this
    project = "pikaci"
    profile = "default"
    pool = "fast"                           # else the one of the profile's root disk
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from jerichoci.plan.model import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "/var/lib/incus/unix.socket"
SERVICE_SOCKET = "/run/incus/unix.socket"
PROJECT = "pikaci"

Name = Annotated[str, Field(min_length=1)]


class IncusSite(Setting):
    """Where guests are made."""

    socket: Name | None = None
    project: Name = PROJECT
    profile: Name = "default"
    pool: Name | None = None

    def socket_path(self, env: Mapping[str, str] | None = None) -> Path:
        """The daemon's socket."""
        env = os.environ if env is None else env
        if self.socket:
            return Path(self.socket)
        if env.get("INCUS_SOCKET"):
            return Path(env["INCUS_SOCKET"])
        if env.get("INCUS_DIR"):
            return Path(env["INCUS_DIR"]) / "unix.socket"
        service = Path(SERVICE_SOCKET)
        return service if service.exists() else Path(SOCKET)
