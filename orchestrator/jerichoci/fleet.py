"""The hosts of a run: which of its jobs can be on which of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jerichoci.errors import HostUnavailableError, PikaciError, UsageError
from jerichoci.host import Host
from jerichoci.plan import HostCommand, NixBuild
from jerichoci.runtime import check_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.placement import Placement
    from jerichoci.placement.registry import Placements
    from jerichoci.plan import ExecuteNode, PrepareNode
    from jerichoci.request import RunRequest


class Fleet:
    """The hosts that fit the jobs that a request asks for, and what those need.

    Raises:
        UsageError: a job fits no host, or needs what is made on another one.
    """

    def __init__(self, request: RunRequest, run_id: str, placements: Placements) -> None:
        plan = request.plan
        wanted = request.jobs
        asked = {node.id for node in plan.jobs if wanted is None or node.job_id in wanted}
        self._request = request
        self._closures = {node.id: plan.closure({node.id}) for node in plan.jobs}
        needed = plan.closure(asked)
        self._jobs = [node for node in plan.jobs if node.id in needed]
        for job in plan.jobs:
            check_runtime(job.runtime, job.job_id)
        fitting = {
            job.id: placements.fitting(job.placement, job.placement_config, job.execute.resources)
            for job in self._jobs
        }
        self.here: Placement = placements.here
        self._hosts: dict[str, Host] = {}
        for job in self._jobs:
            for placement in fitting[job.id]:
                mine = [other for other in self._jobs if placement in fitting[other.id]]
                tree = request.source.snapshot_id
                host = Host(placement, plan, run_id, tree, mine)
                self._hosts.setdefault(placement.host, host)
        self._fitting = {
            job: [self._hosts[placement.host] for placement in found]
            for job, found in fitting.items()
        }
        self._check_prepares()

    def hosts_for(self, node: ExecuteNode | PrepareNode) -> list[Host]:
        """The hosts that a job can be on, or those of the jobs that need a prepare."""
        if node.id in self._fitting:
            return self._fitting[node.id]
        jobs = [job for job in self._jobs if node.id in self._closures[job.id]]
        return list(dict.fromkeys(host for job in jobs for host in self._fitting[job.id]))

    async def look(self) -> None:
        """See before anything starts that each job has a host that can have it.

        A host that can't be reached may come back, or another one fits.

        Raises:
            UsageError: a job has none; the hint says how to mend it.
            InfrastructureError: a host could be reached, but not asked.
        """
        if self._request.skip_reason is not None:
            return
        hosts = list(self._hosts.values())
        ends = await asyncio.gather(*(host.open() for host in hosts), return_exceptions=True)
        broken = {host.name: end for host, end in zip(hosts, ends, strict=True) if end is not None}
        for error in broken.values():
            if not isinstance(error, PikaciError):
                raise error
        for job in self._jobs:
            errors = [broken.get(host.name) for host in self._fitting[job.id]]
            if all(_is_final(error) for error in errors):
                raise next(error for error in errors if error is not None)

    def settled(self) -> Iterator[tuple[Host, list[ExecuteNode]]]:
        """The hosts of jobs that fit no other one, with those jobs."""
        for host in self._hosts.values():
            mine = [job for job in self._jobs if self._fitting[job.id] == [host]]
            if mine:
                yield host, mine

    def hurry(self) -> None:
        """Wait for no host any longer."""
        for host in self._hosts.values():
            host.placement.hurry()

    async def close(self) -> None:
        """Leave every host."""
        ends = await asyncio.gather(
            *(host.close() for host in self._hosts.values()), return_exceptions=True
        )
        for end in ends:
            if end is not None and not isinstance(end, PikaciError | OSError):
                raise end

    def _check_prepares(self) -> None:
        for job in self._jobs:
            for node in self._request.plan.prepares:
                if node.id in self._closures[job.id] and _belongs_elsewhere(node, job):
                    raise UsageError(
                        f"job {job.job_id} needs {node.id}, which is made on another host",
                        "give the prepare the placement of the jobs that need it",
                    )


def _is_final(error: BaseException | None) -> bool:
    """Whether there is no use in trying later."""
    return error is not None and not isinstance(error, HostUnavailableError)


def _belongs_elsewhere(node: PrepareNode, job: ExecuteNode) -> bool:
    """Whether a prepare is made where its placement says, and that isn't where the job runs."""
    stays = isinstance(node.prepare, HostCommand) or (
        isinstance(node.prepare, NixBuild) and node.prepare.residency == "remote"
    )
    where = (node.placement, node.placement_config)
    return stays and where != (job.placement, job.placement_config)
