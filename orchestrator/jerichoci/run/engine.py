"""Running plans: each a DAG, in parallel, to a terminal record.

The engine knows prepare nodes, execute nodes and the two Protocols; nothing of targets, lanes, the
command line or the forge. Once the run's directory exists, whatever happens ends in a terminal
run.json.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
import traceback
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from jerichoci.errors import PikaciError
from jerichoci.machine.signals import catching_ignored
from jerichoci.machine.stop import Stop, StoppedError, StopReason
from jerichoci.nix.realised import Activity, joined
from jerichoci.placement.local import LocalPlacement
from jerichoci.plan.hosts import local_settings
from jerichoci.record import verdicts
from jerichoci.record.batch import write_batch
from jerichoci.record.event import Heartbeat
from jerichoci.record.record import Cause, JobRecord, RunRecord
from jerichoci.record.rundir import open_run
from jerichoci.remote.pool import SessionPool
from jerichoci.run.context import RunContext
from jerichoci.run.copies import Copies
from jerichoci.run.fleet import Fleet, RunHost
from jerichoci.run.job import JobRun
from jerichoci.run.placements import Placements
from jerichoci.run.prepare import Prepares
from jerichoci.run.request import RunRequest, first_record, skipped_record
from jerichoci.run.reuse import reused_record
from jerichoci.run.runtimes import getting_ready
from jerichoci.run.shared_builds import SharedBuilds
from jerichoci.run.verdict import broken_message, conclude, stop_cause
from jerichoci.run.world import find_secrets
from jerichoci.state.clock import timestamp
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import check_run_id, new_run_id
from jerichoci.state.natural import natural
from jerichoci.state.remove_tree import remove_tree
from jerichoci.state.trace import span
from jerichoci.status import CauseCode, FailureKind, KeepPolicy, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence

    from jerichoci.plan.plan import ExecuteNode
    from jerichoci.record.journal import Sink
    from jerichoci.run.world import FoundSecrets
    from jerichoci.state.layout import StateLayout

HEARTBEAT_SECS = 10.0
"""The contract promises one every 15 s at least; a busy machine may be late."""
CANCEL_POLL_SECS = 1.0
"""How soon a cancel request is seen whose signal did not arrive, or what else Nix does now."""
INTERNAL_LOG = "internal-error.log"


async def run_plan(
    state: StateLayout,
    request: RunRequest,
    sinks: Sequence[Sink],
    stopping: Callable[[], None] | None = None,
    pool: SessionPool | None = None,
) -> RunRecord:
    """Run a plan and return its terminal record; `stopping` is called when it is cancelled.

    Connections to other hosts are taken from `pool` and stay there for later runs.

    Raises:
        UsageError: it asks for what can't be had; nothing has started and there is no record.
        InfrastructureError: the run could not be recorded at all.
    """
    return (await run_plans(state, [request], sinks, stopping, pool))[0]


async def run_plans(
    state: StateLayout,
    requests: Sequence[RunRequest],
    sinks: Sequence[Sink],
    stopping: Callable[[], None] | None = None,
    pool: SessionPool | None = None,
) -> list[RunRecord]:
    """Run plans beside each other, with a record each; the terminal records, in the same order.

    They share connections, the builds of this machine, `max_jobs`, and what stops them: a signal
    cancels all, and with `fail_fast` a failure of one stops the others. Requests of a batch have
    its id.

    Raises:
        UsageError: one asks for what can't be had; nothing has started and there is no record.
        InfrastructureError: one could not be recorded at all; those before it have failed.
    """
    async with AsyncExitStack() as held:
        if pool is None:
            pool = await held.enter_async_context(SessionPool())
        runs = []
        settings = partial(local_settings, state.answers)
        here = LocalPlacement(state.root, requests[0].nix, settings)
        for request in requests:
            stop = Stop(stopping if len(requests) == 1 else None)
            mine = here if request.nix == requests[0].nix else None
            placements = Placements(state, request.nix, request.plan.hosts, pool, mine)
            runs.append(Run(state, request, placements, stop))
            held.push_async_callback(runs[-1].fleet.close)
        for run in runs:
            await run.find_secrets()
        await asyncio.gather(*(run.fleet.look() for run in runs))
        if requests[0].batch:
            write_batch(state, requests[0].batch, {run.run_id: run.target_id for run in runs})
        with _cancelled_by_signals([run.stop for run in runs], stopping):
            # The hosts are left before a signal ends more than the runs.
            async with held.pop_all() as left:
                shared = await left.enter_async_context(_sharing(requests, here))
                return await _run_all(runs, sinks, shared)


@dataclass(frozen=True)
class Shared:
    """What the runs of a process share."""

    free_places: asyncio.Semaphore
    builds: SharedBuilds | None
    copies: Copies | None


@asynccontextmanager
async def _sharing(requests: Sequence[RunRequest], here: LocalPlacement) -> AsyncIterator[Shared]:
    most = requests[0].max_jobs or max(1, sum(len(request.plan.jobs) for request in requests))
    places = asyncio.Semaphore(most)
    async with AsyncExitStack() as held:
        copies = Copies(to, requests[0].nix) if (to := requests[0].copy_to) else None
        if copies is not None:
            held.push_async_callback(copies.close)
        builds = None
        if len(requests) > 1:
            await held.enter_async_context(here.serving(""))
            builds = SharedBuilds(here)
        yield Shared(places, builds, copies)


async def _run_all(runs: Sequence[Run], sinks: Sequence[Sink], shared: Shared) -> list[RunRecord]:
    """Open all runs, then run them: one that can't be recorded fails those that are open."""
    failure: Exception | None = None
    opened = []
    for run in runs:
        try:
            run.open(sinks, shared)
        except Exception as error:  # noqa: BLE001 - raised when the others are closed
            failure = error
            break
        opened.append(run)
    watching = [asyncio.ensure_future(_stop_together(run, runs)) for run in runs[1:] and runs]
    try:
        ends = [run.run(failure) for run in opened]
        records = await asyncio.gather(*ends, return_exceptions=True)
    finally:
        for task in watching:
            task.cancel()
    for record in [failure, *records]:
        if isinstance(record, BaseException):
            raise record
    return [record for record in records if not isinstance(record, BaseException)]


async def _stop_together(run: Run, runs: Sequence[Run]) -> None:
    await run.stop.wait()
    if run.stop.reason is StopReason.FAIL_FAST:
        for other in runs:
            if not other.stop.is_set():
                other.stop.set(StopReason.FAIL_FAST)


class Run:
    """A run from before its directory exists to its terminal record."""

    def __init__(
        self, state: StateLayout, request: RunRequest, placements: Placements, stop: Stop
    ) -> None:
        self.run_id = check_run_id(request.run_id) if request.run_id else new_run_id()
        self.target_id = request.plan.target_id
        self.stop = stop
        self._state = state
        self._request = request
        self.fleet = Fleet(request, self.run_id, placements)
        self._opened = ExitStack()
        self._secrets: FoundSecrets = {}

    async def find_secrets(self) -> None:
        """Have the secrets of its jobs; a missing one is a UsageError."""
        self._secrets = await find_secrets(self._state, self._request)

    def open(self, sinks: Sequence[Sink], shared: Shared) -> None:
        """Make its directory and hold its lock."""
        request = self._request
        plan = request.plan.with_(run_id=self.run_id, created_at=timestamp())
        record = first_record(self._state, request, plan)
        with span("open run"):
            writer = self._opened.enter_context(open_run(self._state, record, plan, sinks))
        self._context = RunContext(
            self._state,
            request,
            writer,
            self.fleet,
            self.stop,
            shared.free_places,
            shared.builds,
            shared.copies,
            self._secrets,
        )

    async def run(self, failure: Exception | None) -> RunRecord:
        """Run it, or end it because of a failure elsewhere; its terminal record."""
        writer = self._context.writer
        with self._opened:
            if failure is None and self._request.skip_reason:
                writer.finish(skipped_record(writer.record, self._request.skip_reason))
            elif failure is None and self._request.reuses:
                writer.finish(reused_record(writer.record, self._request))
            else:
                await Engine(self._context, failure).run()
                with suppress(PikaciError):  # without it, the next run takes none
                    verdicts.note(self._state, writer.record, self._request.only())
            return writer.record


@contextmanager
def _cancelled_by_signals(
    stops: Sequence[Stop], stopping: Callable[[], None] | None
) -> Iterator[None]:
    """SIGINT and SIGTERM cancel the runs; a terminal that hangs up does not end them."""
    loop = asyncio.get_running_loop()

    def cancel() -> None:
        if len(stops) > 1 and stopping and not all(stop.is_set() for stop in stops):
            stopping()
        for stop in stops:
            stop.set(StopReason.CANCELLED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in handled}
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, cancel)
    # Caught, not ignored: children would inherit that.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    try:
        with catching_ignored():
            yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


class Engine:
    """One run in progress."""

    def __init__(self, run: RunContext, failure: Exception | None = None) -> None:
        """`failure` is one elsewhere that ends the run before it begins."""
        self._context = run
        self._writer = run.writer
        self._stop = run.stop
        self._failure: BaseException | None = None
        self._stopped: StopReason | None = None
        self._is_decided = False
        """Whether prepares and jobs are over: what stops the run now changes no result."""
        if failure is not None:
            self._break(failure)

    async def run(self) -> None:
        """Run to the terminal record, whatever happens on the way."""
        prepares = Prepares(self._context)
        aside = [asyncio.ensure_future(work) for work in self._aside()]
        try:
            await self._run_nodes(prepares)
        except Exception as error:  # noqa: BLE001 - ends in a terminal record
            self._break(error)
        except asyncio.CancelledError:
            self._stop.set(StopReason.CANCELLED)
            raise
        finally:
            for task in aside:
                task.cancel()
            # Jobs and prepares are not cancelled: they see the stop, and end in order.
            await asyncio.gather(*aside, *self._context.jobs.values(), return_exceptions=True)
            await self._guard(prepares.close())
            if self._context.request.wait_removal:
                removals = (runtime.wait_removed() for runtime in self._context.finished_runtimes)
                await asyncio.gather(*removals, return_exceptions=True)
            self._finish()

    async def _run_nodes(self, prepares: Prepares) -> None:
        """A task for each node; they wait for each other."""
        prepares.begin()
        jobs = self._context.jobs
        for node in self._context.plan.jobs:
            jobs[node.id] = asyncio.ensure_future(self._run_job(prepares, node))
        await self._guard(prepares.wait())
        if jobs:
            await asyncio.wait(jobs.values())
        self._stopped, self._is_decided = self._stop.reason, True
        await self._guard(prepares.wait_for_copies())

    async def _run_job(self, prepares: Prepares, node: ExecuteNode) -> JobRecord:
        try:
            return await JobRun(self._context, prepares, node).run()
        except Exception as error:  # noqa: BLE001 - ends the run, in a terminal record
            self._break(error)
            return self._broken_job(self._writer.job(node.job_id))

    def _aside(self) -> Iterator[Awaitable[object]]:
        """What runs beside the nodes."""
        yield self._guard(self._beat())
        yield self._shorten_waits()
        for host, jobs in self._context.fleet.settled():
            yield self._get_ready(host, jobs)

    async def _get_ready(self, host: RunHost, jobs: Sequence[ExecuteNode]) -> None:
        """Begin with what jobs will wait for on a host, while prepares still run."""
        # What goes wrong here goes wrong again for the job that needs it.
        with suppress(PikaciError, OSError):
            await host.open()
            ready = [host.snapshot(), *getting_ready(host.placement, jobs)]
            await asyncio.gather(*ready, return_exceptions=True)

    async def _shorten_waits(self) -> None:
        await self._stop.wait()
        self._context.fleet.shorten_waits()

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except StoppedError:
            pass
        except Exception as error:  # noqa: BLE001 - ends the run, in a terminal record
            self._break(error)

    def _broken_job(self, job: JobRecord) -> JobRecord:
        cause = Cause(code=CauseCode.ENVIRONMENT_FAILED, message=broken_message(self._failure))
        return job.cut_short(Status.FAILED, FailureKind.INFRASTRUCTURE, cause)

    def _break(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._stop.set(StopReason.BROKEN)

    async def _beat(self) -> None:
        last, said = time.monotonic(), {**vars(Activity()), "copying": ()}
        while True:
            await asyncio.sleep(CANCEL_POLL_SECS)
            self._writer.check()
            if not self._stop.is_set() and self._writer.layout.cancel_request.exists():
                self._stop.set(StopReason.CANCELLED)
            activity = joined(self._context.nix_activity.values())
            copying = copies.copying if (copies := self._context.copies) else ()
            done = {**vars(activity), "copying": copying}
            if done != said or time.monotonic() - last >= HEARTBEAT_SECS:
                last, said = time.monotonic(), done
                running = sorted(self._context.running, key=natural)
                self._writer.emit(Heartbeat(running=running, **done))

    def _finish(self) -> None:
        jobs = [self._final_job(node) for node in self._context.plan.jobs]
        stopped = self._stopped if self._is_decided else self._stop.reason
        record = conclude(self._writer.record, jobs, stopped, self._failure)
        try:
            self._clean_up()
        finally:
            self._writer.finish(record)

    def _final_job(self, node: ExecuteNode) -> JobRecord:
        task = self._context.jobs.get(node.id)
        if task is not None and task.done() and not task.cancelled():
            return task.result()
        job = self._writer.job(node.job_id)
        if self._failure is None:
            # The engine's own task was cancelled.
            return job.cut_short(Status.CANCELLED, None, stop_cause(StopReason.CANCELLED))
        return self._broken_job(job)

    def _clean_up(self) -> None:
        layout = self._writer.layout
        try:
            if self._failure is not None and not isinstance(self._failure, OSError | PikaciError):
                text = "".join(traceback.format_exception(self._failure))
                (layout.root / INTERNAL_LOG).write_text(text)
            if self._context.request.keep is KeepPolicy.NEVER:
                remove_tree(layout.scratch)
        except OSError:
            # A full or failing disk: the next `reap` or `gc` removes what is left.
            return
