"""The Nix builds of a run on one host: those asked for in the same moment are one `nix build`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jerichoci.machine.stop import StoppedError
from jerichoci.state.trace import span
from jerichoci.status import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from jerichoci.nix.realised import Activity, BuildRequest, Realised
    from jerichoci.run.context import RunContext
    from jerichoci.run.fleet import RunHost


class NixBatch:
    """Joins builds, and is the Observer of each step. Without a host they are this machine's.

    A step begins when the host is open: until then builds join it.
    """

    def __init__(
        self,
        run: RunContext,
        host: RunHost | None,
        log: Callable[[str, str], None],
        building: Callable[[str], None],
    ) -> None:
        self._run = run
        self._host = host
        self._placement = host.placement if host else run.fleet.here
        self.log = log
        self.building = building
        self._asked: dict[str, BuildRequest] = {}
        self._ends: dict[str, asyncio.Future[Realised]] = {}
        self._steps: set[asyncio.Task[None]] = set()

    async def build(self, node_id: str, request: BuildRequest) -> Realised:
        """Have an output on the host."""
        if not self._asked:
            step = asyncio.create_task(self._step())
            self._steps.add(step)
            step.add_done_callback(self._steps.discard)
        self._asked[node_id] = request
        self._ends[node_id] = asyncio.get_running_loop().create_future()
        return await self._ends[node_id]

    def active(self, activity: Activity) -> None:
        """Take note of what Nix does for the run."""
        self._run.nix_activity[self._placement.host] = activity

    def finished(self, node_id: str, result: Realised) -> None:
        """Have the node's task continue with its result."""
        if result.outcome is Outcome.CANCELLED and not self._run.stop.is_set():
            return  # The step is failing, with an error that the tasks get in place of this.
        if not self._ends[node_id].done():
            self._ends[node_id].set_result(result)

    async def _step(self) -> None:
        asked = self._asked
        failure: Exception | None = None
        try:
            await self._run.stop.unless(self._host.open() if self._host else asyncio.sleep(0))
            self._asked = {}
            here = self._run.builds if self._host is None else None
            builder = here or self._placement
            with span("realise", builds=list(asked)):
                await builder.realise(asked, self._run.run_id, self, self._run.stop)
        except Exception as error:  # noqa: BLE001 - raised where the builds were asked for
            failure = error
        finally:
            if self._asked is asked:
                self._asked = {}
            self._run.nix_activity.pop(self._placement.host, None)
            if failure is None:
                is_stopped = self._run.stop.is_set()
                failure = StoppedError() if is_stopped else RuntimeError("a build has no result")
            for node_id in asked:
                if not self._ends[node_id].done():
                    self._ends[node_id].set_exception(failure)
