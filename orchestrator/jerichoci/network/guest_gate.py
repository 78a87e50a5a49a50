"""The network of a job in a guest that reaches some addresses of a bridge and no others."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from jerichoci.placement import Placement, operations
from jerichoci.world import NO_FACTS, Share, World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class GuestGate:
    """The gate of one attempt; `names` tell it from all others."""

    def __init__(
        self,
        placement: Placement,
        bridge: str,
        allow: Sequence[str],
        scratch: Path,
        names: Sequence[str],
    ) -> None:
        self._placement = placement
        self._bridge = bridge
        self._allow = allow
        self._directory = scratch.with_name(f"{scratch.name}-network")
        digest = hashlib.sha256("/".join(names).encode()).hexdigest()
        self._interface = f"pk{digest[:12]}"
        self._stack = AsyncExitStack()
        self.facts = NO_FACTS

    async def enter(self) -> World:
        """Have the rules there before the guest is."""
        await self._stack.enter_async_context(
            self._placement.hold(
                operations.guest_gate, self._bridge, self._interface, self._allow, self._directory
            )
        )
        self.facts = {"network": "allow", "network_interface": self._interface}
        share = Share(self._directory / "hosts", "/etc/hosts")
        return World(shares=(share,), interface=self._interface)

    async def passed(self) -> None:
        """Nothing to publish."""

    async def leave(self) -> None:
        """Remove the rules, once the guest is gone."""
        await self._stack.aclose()
        await self._placement.do(operations.remove, self._directory)
