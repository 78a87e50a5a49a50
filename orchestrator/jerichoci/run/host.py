"""A host as one run uses it: reached, looked at and given the run's snapshot once for all jobs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from jerichoci.errors import HostUnavailableError, PikaciError
from jerichoci.run.runtimes import check_jobs, check_machine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jerichoci.placement import Placement
    from jerichoci.plan.plan import ExecuteNode, Plan


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
        """Where the host has the run's snapshot."""
        failed = self._snapshot is not None and self._snapshot.done() and self._has_failed()
        if self._snapshot is None or failed:
            self._snapshot = asyncio.ensure_future(self._have_snapshot())
        return await asyncio.shield(self._snapshot)

    async def _have_snapshot(self) -> Path:
        await self.open()
        return await self.placement.snapshot(self._tree)

    def _has_failed(self) -> bool:
        task = self._snapshot
        return task is not None and (task.cancelled() or task.exception() is not None)

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
