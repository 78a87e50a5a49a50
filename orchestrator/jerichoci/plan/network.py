"""A network of which a job reaches some addresses and no others."""

from __future__ import annotations

from typing import Annotated

from jerichoci.plan.model import Model
from jerichoci.plan.rule import field

Destination = Annotated[
    str,
    field(pattern=r"^([A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"),
]

HOSTS_OWN = "bridge"
"""The `network` of a job with that of its host, or of a guest with its profile's interfaces."""


class AllowedNetwork(Model):
    """What may be reached over TCP: `host:port`, `[address]:port`."""

    allow: list[Destination] = field(min_length=1)
