"""Running a plan: the DAG, in parallel, to a terminal record.

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
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from jerichoci.errors import PikaciError
from jerichoci.machine.signals import catching_ignored
from jerichoci.machine.stop import Stop, StoppedError, StopReason
from jerichoci.record.event import Heartbeat
from jerichoci.record.record import Cause, JobRecord, RunRecord
from jerichoci.record.rundir import open_run
from jerichoci.remote.pool import SessionPool
from jerichoci.run.context import RunContext
from jerichoci.run.fleet import Fleet, RunHost
from jerichoci.run.job import JobRun
from jerichoci.run.placements import Placements
from jerichoci.run.prepare import Prepares
from jerichoci.run.request import RunRequest, first_record, skipped_record
from jerichoci.run.runtimes import getting_ready
from jerichoci.run.verdict import broken_message, conclude, stop_cause
from jerichoci.state.clock import timestamp
from jerichoci.state.ids import check_run_id, new_run_id
from jerichoci.state.remove_tree import remove_tree
from jerichoci.status import CauseCode, FailureKind, KeepPolicy, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

    from jerichoci.plan.plan import ExecuteNode
    from jerichoci.record.journal import Sink
    from jerichoci.state.layout import StateLayout

HEARTBEAT_SECS = 10.0
"""The contract promises one every 15 s at least; a busy machine may be late."""
CANCEL_POLL_SECS = 1.0
"""How soon a cancel request is seen whose signal did not arrive."""
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
    run_id = check_run_id(request.run_id) if request.run_id else new_run_id()
    async with AsyncExitStack() as held:
        if pool is None:
            pool = await held.enter_async_context(SessionPool())
        placements = Placements(state, request.nix, request.plan.hosts, pool)
        fleet = Fleet(request, run_id, placements)
        held.push_async_callback(fleet.close)
        await fleet.look()
        plan = request.plan.with_(run_id=run_id, created_at=timestamp())
        record = first_record(state, request, plan)
        stop = Stop(stopping)
        with _cancelled_by_signals(stop):
            # The hosts are left before a signal ends more than the run.
            async with held.pop_all():
                with open_run(state, record, plan, sinks) as writer:
                    if request.skip_reason:
                        writer.finish(skipped_record(record, request.skip_reason))
                    else:
                        await Engine(RunContext(state, request, writer, fleet, stop)).run()
                    return writer.record


@contextmanager
def _cancelled_by_signals(stop: Stop) -> Iterator[None]:
    """SIGINT and SIGTERM cancel the run; a terminal that hangs up does not end it."""
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in handled}
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set, StopReason.CANCELLED)
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

    def __init__(self, run: RunContext) -> None:
        self._context = run
        self._writer = run.writer
        self._stop = run.stop
        self._failure: BaseException | None = None

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
        last = time.monotonic()
        while True:
            await asyncio.sleep(CANCEL_POLL_SECS)
            self._writer.check()
            if not self._stop.is_set() and self._writer.layout.cancel_request.exists():
                self._stop.set(StopReason.CANCELLED)
            if time.monotonic() - last >= HEARTBEAT_SECS:
                last = time.monotonic()
                self._writer.emit(Heartbeat(running=sorted(self._context.running)))

    def _finish(self) -> None:
        jobs = [self._final_job(node) for node in self._context.plan.jobs]
        record = conclude(self._writer.record, jobs, self._stop.reason, self._failure)
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
