"""What an agent does for its orchestrator, below one work directory: operations, by their names."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jerichoci.errors import InfrastructureError
from jerichoci.machine.environment import host_environment, job_path, well_known
from jerichoci.machine.slots import Capacity, local_capacity
from jerichoci.machine.system import own_system
from jerichoci.nix.command import NixOptions
from jerichoci.placement import operations
from jerichoci.placement.operation import OPERATIONS
from jerichoci.remote.agent import agent_operations as host_operations
from jerichoci.remote.agent.agent_work import AgentWork
from jerichoci.remote.agent.facts import HostFacts
from jerichoci.remote.agent.rendezvous import boot_id
from jerichoci.remote.agent.survey import needed_programs
from jerichoci.state.layout import make_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MODULES = (operations, host_operations)
"""Whose functions can be asked for."""


class Service:
    """The work directory `work` as the agent of a session serves it."""

    def __init__(self, work: Path, told: Mapping[str, Any]) -> None:
        self._told = told
        first = told["search_path"]
        rest = os.environ.get("PATH", "").split(os.pathsep)
        # What ssh's own PATH may lack.
        os.environ["PATH"] = os.pathsep.join(well_known(first, rest))
        nix = NixOptions(
            settings=tuple((name, value) for name, value in told["nix_settings"]),
            offline=bool(told["nix_offline"]),
        )
        own, declared = local_capacity(), told["capacity"]
        capacity = Capacity(
            cpus=declared["cpus"] or own.cpus,
            memory_mib=declared["memory_mib"] or own.memory_mib,
            jobs=declared["jobs"],
        )
        for name in ("slots", "runs", "snapshots"):
            make_private(work / name)
        self._work = AgentWork(work, nix, capacity)
        self._programs = needed_programs()

    def facts(self) -> HostFacts:
        """What an orchestrator knows of a host from the first moment."""
        return HostFacts(
            boot_id=boot_id(),
            work_dir=self._work.state.root,
            system=own_system(),
            uid=os.getuid(),
            gid=os.getgid(),
            python=sys.version.split()[0],
            environment=host_environment(),
            job_path=job_path(self._told["search_path"]),
            programs=self._programs,
        )

    async def do(self, name: str, args: dict[str, Any], data: bytes) -> tuple[object, bytes]:
        """Do what is asked; JSON and bytes, as the answer is."""
        operation = OPERATIONS.get(name)
        if operation is None:
            raise InfrastructureError(f"the agent knows no operation {name!r}")
        handle = args.pop("handle") if operation.holds else ""
        doing = operation.function(self._work, **operation.arguments(args, data))
        if operation.holds:
            await self._work.hold(handle, doing)
            return None, b""
        return operation.answered(await doing)

    async def close(self) -> None:
        """Let go of everything, the last first; what runs is killed."""
        for handle in reversed(list(self._work.held)):
            with suppress(Exception):
                await self._work.release(handle)
