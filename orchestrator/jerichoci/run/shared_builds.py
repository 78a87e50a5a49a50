"""The Nix builds that several runs of one process ask for on this machine: one `nix build`.

What is asked for in the same moment is one step, rooted for the run that asked first. Another run
that asked for the same output waits for it there, and then roots it for itself. A step lasts as
long as a run that asked for something in it.
"""

from __future__ import annotations

import asyncio
from dataclasses import field, replace
from typing import TYPE_CHECKING

from jerichoci.machine.stop import Stop, StopReason
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jerichoci.nix.realised import Activity, BuildRequest, Observer, Realised
    from jerichoci.placement import Placement


ROOTED_AT_ONCE = 8
"""For how many runs at a time: each is a process, and a process may open few files."""


class SharedBuilds:
    """Joins the builds of the runs of a process on this machine."""

    def __init__(self, here: Placement) -> None:
        self._here = here
        self._next: Step | None = None
        self._rooting = asyncio.Semaphore(ROOTED_AT_ONCE)

    async def realise(
        self, builds: Mapping[str, BuildRequest], run_id: str, observer: Observer, stop: Stop
    ) -> None:
        """Build outputs, rooted for the run; `observer` gets each node's result."""
        if self._next is None:
            self._next = Step(self._here, self._rooting)
            asyncio.get_running_loop().call_soon(self._begin)
        await self._next.have(Asking(builds, run_id, observer, stop))

    def _begin(self) -> None:
        """Begin the step; what is asked for from now on is another one's."""
        if self._next is not None:
            self._next.begin()
            self._next = None


@dataclass
class Asking:
    """What a run asked for, and who hears of it."""

    builds: Mapping[str, BuildRequest]
    run_id: str
    observer: Observer
    stop: Stop
    is_first: bool = False
    """Whether the step roots for this run what it builds."""
    end: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    to_root: dict[str, Realised] = field(default_factory=dict)
    rooting: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.waiting = set(self.builds)

    def tell(self, tell: Callable[[Observer], None]) -> None:
        """Tell the observer something; where that fails, it fails for this run alone."""
        try:
            tell(self.observer)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        if not self.end.done():
            self.end.set_exception(error)

    def finish(self, node_id: str, result: Realised) -> None:
        """Pass on what became of a node."""
        self.tell(lambda observer: observer.finished(node_id, result))
        self.waiting.discard(node_id)
        if not self.waiting and not self.end.done():
            self.end.set_result(None)

    async def leave(self) -> None:
        for task in self.rooting:
            task.cancel()
        await asyncio.gather(*self.rooting, return_exceptions=True)
        if self.end.done() and not self.end.cancelled():
            self.end.exception()


@dataclass
class Rooted:
    """Observes the rooting of what another run's step has built."""

    asking: Asking
    built: Mapping[str, Realised]

    def log(self, node_id: str, line: str) -> None:
        self.asking.observer.log(node_id, line)

    def building(self, node_id: str) -> None:
        """Only if it was lost meanwhile."""

    def active(self, activity: Activity) -> None:
        """Likewise."""

    def finished(self, node_id: str, result: Realised) -> None:
        if result.ok:
            result = replace(result, cached=self.built[node_id].cached)
        self.asking.finish(node_id, result)


class Step:
    """One `nix build`, and the observer of it."""

    def __init__(self, here: Placement, rooting: asyncio.Semaphore) -> None:
        self._here = here
        self._rooting = rooting
        self._askings: list[Asking] = []
        self._stop = Stop()
        self._work: asyncio.Task[None] | None = None

    async def have(self, asking: Asking) -> None:
        """Wait until all that a run asked for is there, or can't be had, or isn't wanted."""
        asking.is_first = not self._askings
        self._askings.append(asking)
        try:
            await asking.stop.unless(asyncio.shield(asking.end))
        finally:
            self._askings.remove(asking)
            await asking.leave()
            if not self._askings:
                self._stop.set(StopReason.CANCELLED)
                if self._work is not None:
                    await asyncio.wait({self._work})

    def begin(self) -> None:
        """Begin with what has been asked for."""
        builds: dict[str, BuildRequest] = {}
        for asking in self._askings:
            for node_id, build in asking.builds.items():
                secs = max(build.timeout_secs, builds.get(node_id, build).timeout_secs)
                builds[node_id] = replace(build, timeout_secs=secs)
        if builds:
            run_id = self._askings[0].run_id
            work = self._here.realise(builds, run_id, self, self._stop)
            self._work = asyncio.ensure_future(work)
            self._work.add_done_callback(self._end)

    def _end(self, work: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        for asking in self._askings:
            if error is not None:
                asking.fail(error)
            elif not asking.rooting and not asking.end.done():
                asking.end.set_result(None)

    def _concerned(self, node_id: str) -> Iterator[Asking]:
        return (asking for asking in list(self._askings) if node_id in asking.builds)

    def log(self, node_id: str, line: str) -> None:
        """Pass on a line that a node printed."""
        for asking in self._concerned(node_id):
            asking.tell(lambda observer: observer.log(node_id, line))

    def building(self, node_id: str) -> None:
        """Pass on that a node is built."""
        for asking in self._concerned(node_id):
            asking.tell(lambda observer: observer.building(node_id))

    def active(self, activity: Activity) -> None:
        """Pass on what Nix does, to one run that waits for it."""
        for asking in self._askings[:1]:
            asking.tell(lambda observer: observer.active(activity))

    def finished(self, node_id: str, result: Realised) -> None:
        """Pass on what became of a node; what is there is rooted for each run."""
        for asking in self._concerned(node_id):
            if asking.is_first or not result.ok:
                asking.finish(node_id, result)
            else:
                if not asking.to_root:
                    rooting = asyncio.ensure_future(self._root(asking))
                    asking.rooting.add(rooting)
                asking.to_root[node_id] = result

    async def _root(self, asking: Asking) -> None:
        built, asking.to_root = asking.to_root, {}
        builds = {node_id: asking.builds[node_id] for node_id in built}
        try:
            observer = Rooted(asking, built)
            async with self._rooting:
                await self._here.realise(builds, asking.run_id, observer, asking.stop)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            asking.fail(error)
