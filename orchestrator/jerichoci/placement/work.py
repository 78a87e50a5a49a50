"""What operations work on: a state root of this machine, and what is found out once of it."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING

from jerichoci.machine import control_groups
from jerichoci.machine.confinement import Confinement, own_snapshots, probe
from jerichoci.machine.gather import together
from jerichoci.machine.slots import Capacity, local_capacity
from jerichoci.machine.starter import Starter
from jerichoci.state.layout import StateLayout

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.nix.command import NixOptions


class Work:
    """A state root, or a host's work directory, which is laid out as one."""

    def __init__(self, root: Path, nix: NixOptions, capacity: Capacity | None = None) -> None:
        self.state = StateLayout(root)
        self.nix = nix
        self.capacity = capacity or local_capacity()
        self._probing: asyncio.Task[Confinement] | None = None
        self._limitable: list[str] | None = None
        self.starter = Starter()

    async def confinement(self) -> Confinement:
        """What this machine's kernel gives to hold a job."""
        if self._probing is None:
            self._probing = asyncio.ensure_future(self._probe())
        return await asyncio.shield(self._probing)

    async def limitable(self) -> list[str]:
        """What of a job can be limited: `cpu`, `memory`, `pids`."""
        if self._limitable is None:
            self._limitable = await control_groups.what_can_be_limited()
        return self._limitable

    async def _probe(self) -> Confinement:
        found, snapshots = await together(probe(self.state), self._own_snapshots())
        if snapshots is None or not found.overlay:
            return found
        return found.entering(f"/proc/{os.getpid()}/fd/{snapshots}", self.state.root)

    async def _own_snapshots(self) -> int | None:
        snapshots = await own_snapshots(self.state.snapshots)
        if snapshots is not None:
            weakref.finalize(self, os.close, snapshots)
        return snapshots

    async def close(self) -> None:
        """Leave nothing running."""
        await self.starter.close()
        probing, self._probing = self._probing, None
        if probing is not None:
            # Cancelled by the end of the loop, asyncio may wait for its children for good.
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
