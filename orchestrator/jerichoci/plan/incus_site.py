"""Which Incus a host's guests are made in: its socket, the project, the profile, the pool.

From `[local.incus]` or `[hosts.NAME.incus]` in the hosts file; every key is optional:

    [local.incus]
    socket = "/var/lib/incus/unix.socket"   # else INCUS_SOCKET, INCUS_DIR, or this
    project = "pikaci"
    profile = "default"
    pool = "fast"                           # else the one of the profile's root disk
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from jerichoci.placement.incus_settings import PROJECT, IncusSettings
from jerichoci.plan.model import Setting

Name = Annotated[str, Field(min_length=1)]


class IncusSite(Setting):
    """Where guests are made."""

    socket: Name | None = None
    project: Name = PROJECT
    profile: Name = "default"
    pool: Name | None = None

    @property
    def settings(self) -> IncusSettings:
        """The same for those who use it."""
        return IncusSettings(self.socket, self.project, self.profile, self.pool)
