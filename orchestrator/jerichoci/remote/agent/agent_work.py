"""A work directory as an agent has it: with all that its orchestrator holds there."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar

from jerichoci.errors import InfrastructureError
from jerichoci.placement.work import Work

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from jerichoci.machine.slots import Capacity
    from jerichoci.nix.command import NixOptions

HeldT = TypeVar("HeldT")


class AgentWork(Work):
    """A work directory, and what is held by handles until they are released."""

    def __init__(self, root: Path, nix: NixOptions, capacity: Capacity) -> None:
        super().__init__(root, nix, capacity)
        self.held: dict[str, tuple[AsyncExitStack, object]] = {}

    async def hold(self, handle: str, context: AbstractAsyncContextManager[object]) -> None:
        """Open something, and hold it."""
        async with AsyncExitStack() as stack:
            found = await stack.enter_async_context(context)
            self.held[handle] = stack.pop_all(), found

    def find(self, handle: str, kind: type[HeldT]) -> HeldT:
        """What is held under a handle."""
        _, found = self.held.get(handle, (None, None))
        if not isinstance(found, kind):
            raise InfrastructureError(f"the agent holds no {kind.__name__} under {handle!r}")
        return found

    async def release(self, handle: str) -> None:
        """Close what is held under a handle; it may be closed already."""
        stack, _ = self.held.pop(handle, (None, None))
        if stack is not None:
            await stack.aclose()
