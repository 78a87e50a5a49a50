"""The hosts of a run, and which of its jobs each can run."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from jerichoci.errors import HostUnavailableError, PikaciError, UsageError
from jerichoci.plan.plan import HostCommand, NixBuild
from jerichoci.run.runtimes import check_jobs, check_machine, check_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jerichoci.placement import Placement
    from jerichoci.plan.plan import ExecuteNode, Plan, PrepareNode
    from jerichoci.run.placements import Placements
    from jerichoci.run.request import RunRequest


class RunHost:
    """A placement in the hands of the run `run_id`, which may have the `jobs` of a plan run there.

    `tree` is the run's snapshot.
    """

    def __init__(
        self, placement: Placement, plan: Plan, run_id: str, tree: str, jobs: Sequence[ExecuteNode]
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
        self._plan = plan
        self._run_id = run_id
        self._tree = tree
        self._jobs = jobs
        self._snapshot: asyncio.Task[Path] | None = None
        self._serving: AsyncExitStack | None = None
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        """The host's name, as records say it."""
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
            await check_machine(self.placement, self._jobs)
            self.placement.check(self._plan.system)
            self.surveys = await check_jobs(self.placement, self._plan, self._jobs)
            self._serving = stack.pop_all()

    async def snapshot(self) -> Path:
        """Where the host has the run's snapshot; tried again, if that failed."""
        task = self._snapshot
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._snapshot = asyncio.ensure_future(self._have_snapshot())
        return await asyncio.shield(task)

    async def _have_snapshot(self) -> Path:
        await self.open()
        return await self.placement.snapshot(self._tree)

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
                plan,
                run_id,
                request.source.snapshot_id,
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
        while undecided := self._undecided():
            await asyncio.wait(undecided, return_when=asyncio.FIRST_COMPLETED)
        for job in self._jobs:
            errors = [self._end(host) for host in self._fitting[job.id]]
            if all(_is_final(error) for error in errors):
                raise next(error for error in errors if error is not None)

    def _undecided(self) -> list[asyncio.Task[None]]:
        """The hosts still being opened that jobs need which have no open host yet."""
        return [
            self._opening[host.name]
            for job in self._jobs
            if not any(self._is_open(host) for host in self._fitting[job.id])
            for host in self._fitting[job.id]
            if not self._opening[host.name].done()
        ]

    def _is_open(self, host: RunHost) -> bool:
        return self._opening[host.name].done() and self._end(host) is None

    def _end(self, host: RunHost) -> BaseException | None:
        """Why a host can't be used, if that is known by now."""
        task = self._opening[host.name]
        error = task.exception() if task.done() else None
        if error is not None and not isinstance(error, PikaciError):
            raise error
        return error

    def settled(self) -> Iterator[tuple[RunHost, list[ExecuteNode]]]:
        """The hosts of jobs that fit no other one, with those jobs."""
        for host in self._hosts.values():
            mine = [job for job in self._jobs if self._fitting[job.id] == [host]]
            if mine:
                yield host, mine

    def shorten_waits(self) -> None:
        """Wait for no host any longer."""
        for host in self._hosts.values():
            host.placement.shorten_waits()

    async def close(self) -> None:
        """Leave every host."""
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


def _is_final(error: BaseException | None) -> bool:
    """Whether it is useless to try again later."""
    return error is not None and not isinstance(error, HostUnavailableError)


def _belongs_elsewhere(node: PrepareNode, job: ExecuteNode) -> bool:
    """Whether a prepare is made where its placement says, and that isn't where the job runs."""
    stays = isinstance(node.prepare, HostCommand) or (
        isinstance(node.prepare, NixBuild) and node.prepare.residency == "remote"
    )
    where = (node.placement, node.placement_config)
    return stays and where != (job.placement, job.placement_config)
