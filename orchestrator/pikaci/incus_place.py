"""The host whose Incus a command is about: this one, or one of the hosts file."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from jerichoci.errors import UsageError
from jerichoci.state.layout import StateLayout
from pikaci.completion import complete_host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jerichoci.nix.command import NixOptions
    from jerichoci.placement import Placement


host_option = click.option(
    "--host",
    metavar="NAME",
    shell_complete=complete_host,
    help="Use the Incus of this remote host instead of this machine's.",
)


@asynccontextmanager
async def incus_place(
    host: str | None, here: Placement, nix: NixOptions
) -> AsyncIterator[Placement]:
    """The host of that name, connected to while the block runs; `here` if there is no name."""
    if host is None:
        yield here
        return
    from jerichoci.plan.hosts import hosts_file
    from jerichoci.remote.pool import SessionPool
    from jerichoci.run.placements import Placements

    async with SessionPool() as pool:
        remote = Placements(StateLayout(here.state_root), nix, {}, pool).remote()
        there = next((placement for placement in remote if placement.host == host), None)
        if there is None:
            known = ", ".join(placement.host for placement in remote)
            raise UsageError(
                f"no host `{host}` is in {hosts_file()}",
                f"it has {known}" if known else "docs/hosts.md shows how to describe one",
            )
        async with there.visiting(""):
            yield there
