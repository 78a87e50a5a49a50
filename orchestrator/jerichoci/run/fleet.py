"""The hosts of a run, and which of its jobs each can run."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from jerichoci.errors import HostUnavailableError, PikaciError, UsageError
from jerichoci.plan.plan import ExecuteNode, HostCommand, PrepareNode
from jerichoci.run.runtimes import check_host, check_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jerichoci.placement import Placement
    from jerichoci.run.placements import Placements
    from jerichoci.run.request import RunRequest


class RunHost:
    """A placement in the hands of the run `run_id`, which may have these `jobs` run there."""

    def __init__(
        self, placement: Placement, request: RunRequest, run_id: str, jobs: Sequence[ExecuteNode]
    ) -> None:
        self.placement = placement
        self.surveys: dict[str, object] = {}
        """What runtimes found on it, by the name of the runtime."""
        self.load = 0
        """How many jobs of this run are on their way to it, or there."""
        self.failures = 0
        """How often it failed a job of this run."""
        self.refusal: PikaciError | None = None
        """Why it can't be used as it is, if that was seen."""
        self._request = request
        self._run_id = run_id
        self._jobs = jobs
        self._snapshot: asyncio.Task[Path] | None = None
        self._serving: AsyncExitStack | None = None
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        return self.placement.host

    async def open(self) -> None:
        """Reach it and see that it has what its jobs need; again, if it was lost meanwhile."""
        async with self._opening:
            if self._serving is not None and not self.placement.is_lost:
                return
            await self._leave()
            try:
                await self._open()
            except HostUnavailableError:
                raise
            except PikaciError as error:
                self.refusal = error
                raise
            self.refusal = None

    async def _open(self) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.placement.serving(self._run_id))
            self.surveys = await check_host(self.placement, self._request.plan, self._jobs)
            self._serving = stack.pop_all()

    async def snapshot(self) -> Path:
        """Where the host has the run's snapshot; tried again, if that failed."""
        task = self._snapshot
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._snapshot = asyncio.ensure_future(self._have_snapshot())
        return await asyncio.shield(task)

    async def _have_snapshot(self) -> Path:
        await self.open()
        return await self.placement.snapshot(self._request.source.snapshot_id)

    async def close(self) -> None:
        """Leave it; what the run made there goes."""
        if self._snapshot is not None:
            self._snapshot.cancel()
            await asyncio.gather(self._snapshot, return_exceptions=True)
        async with self._opening:
            await self._leave()

    async def _leave(self) -> None:
        if self._serving is not None:
            serving, self._serving = self._serving, None
            await serving.aclose()


class Fleet:
    """The hosts that fit the jobs that a request selects."""

    def __init__(self, request: RunRequest, run_id: str, placements: Placements) -> None:
        plan = request.plan
        selected = request.selected()
        self._request = request
        self._jobs = [node for node in plan.jobs if node.id in selected]
        self._closures = {node.id: plan.closure({node.id}) for node in self._jobs}
        for job in plan.jobs:
            check_runtime(job)
        fitting = {
            job.id: placements.fitting(job.placement, job.placement_config, job.execute.resources)
            for job in self._jobs
        }
        self.here: Placement = placements.here
        self._opening: dict[str, asyncio.Task[None]] = {}
        placed = {placement.host: placement for found in fitting.values() for placement in found}
        self._hosts = {
            name: RunHost(
                placement,
                request,
                run_id,
                [job for job in self._jobs if placement in fitting[job.id]],
            )
            for name, placement in placed.items()
        }
        self._fitting = {
            job: [self._hosts[placement.host] for placement in found]
            for job, found in fitting.items()
        }
        self._check_prepares()

    def hosts_for(self, node: ExecuteNode | PrepareNode) -> list[RunHost]:
        """The hosts that a job can be on, or those of the jobs that need a prepare."""
        if node.id in self._fitting:
            return self._fitting[node.id]
        jobs = self.jobs_needing(node)
        return list(dict.fromkeys(host for job in jobs for host in self._fitting[job.id]))

    def jobs_needing(self, node: PrepareNode | ExecuteNode) -> list[ExecuteNode]:
        """The jobs that need a node, directly or not."""
        return [job for job in self._jobs if node.id in self._closures[job.id]]

    async def look(self) -> None:
        """See before anything starts that each job has a host that can run it.

        A host that can't be reached may come back, or another one fits. A slow host is not waited
        for while each of its jobs has another one.
        """
        if self._request.skip_reason is not None:
            return
        for host in self._hosts.values():
            self._opening[host.name] = asyncio.create_task(host.open())
        for job in self._jobs:
            await self._look_for(job)

    async def _look_for(self, job: ExecuteNode) -> None:
        """Wait for the first host that can run a job; raise the error if no host ever can."""
        opening = [self._opening[host.name] for host in self._fitting[job.id]]
        for opened in asyncio.as_completed(opening):
            with suppress(PikaciError):
                await opened
                return
        if not any(isinstance(task.exception(), HostUnavailableError) for task in opening):
            opening[0].result()

    def settled(self) -> Iterator[tuple[RunHost, list[ExecuteNode]]]:
        """The hosts of jobs that fit no other one, with those jobs."""
        for host in self._hosts.values():
            mine = [job for job in self._jobs if self._fitting[job.id] == [host]]
            if mine:
                yield host, mine

    def shorten_waits(self) -> None:
        for host in self._hosts.values():
            host.placement.shorten_waits()

    async def close(self) -> None:
        for task in self._opening.values():
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        ends = await asyncio.gather(
            *(host.close() for host in self._hosts.values()), return_exceptions=True
        )
        for end in ends:
            if end is not None and not isinstance(end, PikaciError | OSError):
                raise end

    def _check_prepares(self) -> None:
        for node in self._request.plan.prepares:
            for job in self.jobs_needing(node):
                if _belongs_elsewhere(node, job):
                    raise UsageError(
                        f"job {job.job_id} needs {node.id}, which is made on another host",
                        "give the prepare the placement of the jobs that need it",
                    )


def _belongs_elsewhere(node: PrepareNode, job: ExecuteNode) -> bool:
    """Whether a prepare is made where its placement says, and that isn't where the job runs."""
    stays = isinstance(node.prepare, HostCommand) or node.prepare.residency == "remote"
    where = (node.placement, node.placement_config)
    return stays and where != (job.placement, job.placement_config)
