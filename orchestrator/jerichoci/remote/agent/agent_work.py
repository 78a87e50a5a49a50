"""A work directory as the agent of a session has it: with all that its orchestrator holds there."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from jerichoci.errors import InfrastructureError
from jerichoci.machine.environment import host_environment, job_path, well_known
from jerichoci.machine.slots import local_capacity
from jerichoci.machine.system import own_system
from jerichoci.nix.command import NixOptions
from jerichoci.placement.operation import OPERATIONS, find
from jerichoci.placement.work import Work
from jerichoci.remote.agent.rendezvous import boot_id
from jerichoci.remote.agent.survey import HostFacts, needed_programs
from jerichoci.state.layout import make_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HeldT = TypeVar("HeldT")


class AgentWork(Work):
    """A work directory, in which operations are done by their names.

    What they open is held by handles until it is released.
    """

    def __init__(self, root: Path, told: Mapping[str, Any]) -> None:
        first = told["search_path"]
        rest = os.environ.get("PATH", "").split(os.pathsep)
        # What ssh's own PATH may lack.
        os.environ["PATH"] = os.pathsep.join(well_known(first, rest))
        nix = NixOptions(
            settings=tuple((name, value) for name, value in told["nix_settings"]),
            offline=bool(told["nix_offline"]),
        )
        super().__init__(root, nix, replace(local_capacity(), **told["capacity"]))
        for directory in (self.state.slots, self.state.runs, self.state.snapshots):
            make_private(directory)
        self.held: dict[str, tuple[AsyncExitStack, object]] = {}
        self._search_path = first
        self._programs = needed_programs()

    def facts(self) -> HostFacts:
        """What an orchestrator knows of a host from the first moment."""
        return HostFacts(
            boot_id=boot_id(),
            work_dir=self.state.root,
            system=own_system(),
            uid=os.getuid(),
            gid=os.getgid(),
            python=sys.version.split()[0],
            environment=host_environment(),
            job_path=job_path(self._search_path),
            programs=self._programs,
        )

    async def do(self, name: str, args: dict[str, Any], data: bytes) -> tuple[object, bytes]:
        """Do what is asked; JSON and bytes, as the answer is."""
        if name not in OPERATIONS:
            raise InfrastructureError(f"the agent knows no operation {name!r}")
        operation = find(name)
        handle = args.pop("handle") if operation.holds else ""
        doing = operation.function(self, **operation.arguments(args, data))
        if operation.holds:
            await self.hold(handle, doing)
            return None, b""
        return operation.answered(await doing)

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

    async def release_all(self) -> None:
        """Let go of everything, the last first; what runs is killed."""
        for handle in reversed(list(self.held)):
            with suppress(Exception):
                await self.release(handle)
