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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.errors import PikaciError
from jerichoci.machine.signals import catching_ignored
from jerichoci.machine.stop import Stop, StoppedError, StopReason
from jerichoci.record.event import Heartbeat, JobFinished, JobStarted
from jerichoci.record.record import Cause, PassedOver
from jerichoci.record.request import RunRequest, first_record, skipped_record
from jerichoci.record.rundir import open_run
from jerichoci.remote.pool import SessionPool
from jerichoci.run.attempt import STOP_MESSAGES, AttemptRun
from jerichoci.run.fleet import Fleet
from jerichoci.run.host_choice import Choice
from jerichoci.run.host_log import HostLogs
from jerichoci.run.placements import Placements
from jerichoci.run.prepare import Prepares
from jerichoci.run.runtimes import getting_ready
from jerichoci.run.verdict import broken_message, conclude, did, job_message, prepare_failed
from jerichoci.state.clock import timestamp
from jerichoci.state.ids import check_run_id, new_run_id
from jerichoci.state.remove_tree import remove_tree
from jerichoci.status import CauseCode, FailureKind, KeepPolicy, Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

    from jerichoci.plan.plan import ExecuteNode
    from jerichoci.record.journal import Sink
    from jerichoci.record.record import JobRecord, RunRecord
    from jerichoci.record.rundir import RunWriter
    from jerichoci.run.host import Host
    from jerichoci.runtime import Runtime
    from jerichoci.state.layout import StateLayout

HEARTBEAT_SECS = 10.0
"""The contract promises one every 15 s at least; a busy machine may be late."""
CANCEL_POLL_SECS = 1.0
"""How soon a cancel request is seen whose signal did not arrive."""
NO_HOST_PAUSE_SECS = 1.0
"""Before hosts are asked again that none of could have a job."""
INTERNAL_LOG = "internal-error.log"


def _nobody() -> None:
    """Whom it doesn't concern that a run is told to end."""


async def run_plan(
    state: StateLayout,
    request: RunRequest,
    sinks: Sequence[Sink],
    stopping: Callable[[], None] = _nobody,
    pool: SessionPool | None = None,
) -> RunRecord:
    """Run a plan and return its terminal record; `stopping` is called when it is told to end.

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
        with _cancelled_by_signals(stop), open_run(state, record, plan, sinks) as writer:
            if request.skip_reason:
                writer.finish(skipped_record(record, request.skip_reason))
            else:
                await Engine(state, request, writer, fleet, stop).run()
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

    def __init__(
        self,
        state: StateLayout,
        request: RunRequest,
        writer: RunWriter,
        fleet: Fleet,
        stop: Stop,
    ) -> None:
        self._state = state
        self._request = request
        self._plan = request.plan
        self._writer = writer
        self._stop = stop
        self._failure: BaseException | None = None
        self._running: set[str] = set()
        self._selected = request.selected()
        self._jobs: dict[str, asyncio.Task[JobRecord]] = {}
        self._fleet = fleet
        self._departed: list[Runtime] = []
        limit = request.max_jobs or max(1, len(self._plan.jobs))
        self._room = asyncio.Semaphore(limit)

    async def run(self) -> None:
        """Run to the terminal record, whatever happens on the way."""
        logs = HostLogs(self._writer.layout)
        nodes = [node for node in self._plan.prepares if node.id in self._selected]
        prepares = Prepares(
            self._writer,
            logs,
            nodes,
            needed_by=self._needed_by(),
            hosts_of={node.id: self._fleet.hosts_for(node) for node in nodes},
            here=self._fleet.here,
            stop=self._stop,
        )
        beat = asyncio.ensure_future(self._guard(self._beat()))
        early = [asyncio.ensure_future(work) for work in self._early()]
        try:
            await self._run_nodes(prepares, logs)
        except Exception as error:  # noqa: BLE001 - ends in a terminal record
            self._break(error)
        except asyncio.CancelledError:
            self._stop.set(StopReason.CANCELLED)
            raise
        finally:
            for task in (rest := [beat, *early]):
                task.cancel()
            # Jobs are not cancelled: told to stop, they end in order.
            await asyncio.gather(*rest, *self._jobs.values(), return_exceptions=True)
            await self._guard(prepares.close())
            if self._request.wait_removal:
                settling = (runtime.settle() for runtime in self._departed)
                await asyncio.gather(*settling, return_exceptions=True)
            self._finish()

    def _early(self) -> Iterator[Awaitable[object]]:
        """What jobs will wait for, begun while the prepares still go on."""
        yield self._hurry()
        for host, jobs in self._fleet.settled():
            yield self._get_ready(host, jobs)

    async def _get_ready(self, host: Host, jobs: Sequence[ExecuteNode]) -> None:
        # What goes wrong here goes wrong again for the job that needs it.
        with suppress(PikaciError, OSError):
            await host.open()
            ready = [host.snapshot(), *getting_ready(host.placement, jobs)]
            await asyncio.gather(*ready, return_exceptions=True)

    async def _hurry(self) -> None:
        await self._stop.wait()
        self._fleet.hurry()

    async def _run_nodes(self, prepares: Prepares, logs: HostLogs) -> None:
        for node in self._plan.jobs:
            work = self._run_job(node, prepares, logs)
            self._jobs[node.id] = asyncio.ensure_future(self._guard_job(node, work))
        try:
            prepares.begin()
            await self._guard(prepares.run())
        except OSError as error:
            self._break(error)
        if self._jobs:
            await asyncio.wait(self._jobs.values())

    def _needed_by(self) -> dict[str, list[str]]:
        jobs = [node for node in self._plan.jobs if node.id in self._selected]
        closures = {node.job_id: self._plan.closure({node.id}) for node in jobs}
        return {
            prepare.id: [job for job, needed in closures.items() if prepare.id in needed]
            for prepare in self._plan.prepares
        }

    async def _run_job(self, node: ExecuteNode, prepares: Prepares, logs: HostLogs) -> JobRecord:
        job = self._writer.job(node.job_id)
        if node.id not in self._selected:
            cause = Cause(code=CauseCode.NOT_SELECTED, message="this run was not asked for it")
            return self._settle(job.with_(status=Status.SKIPPED, cause=cause))
        problem = await self._dependencies(node, prepares)
        if problem:
            return self._settle(job.with_(**problem))
        left = {
            FailureKind.INFRASTRUCTURE: node.execute.retries.infrastructure,
            FailureKind.TEST_FAILURE: node.execute.retries.test,
        }
        tried: set[str] = set()
        while True:
            try:
                job, may_retry = await self._attempt(job, node, prepares, logs, tried)
            except StoppedError:
                passed_over = self._writer.job(node.job_id).passed_over
                return self._settle(job.with_(**self._not_started(job), passed_over=passed_over))
            kind = job.failure_kind
            if kind is None or not may_retry or self._stop.is_set():
                return self._settle(job)
            if tried and len(tried) < len(self._fleet.hosts_for(node)):
                continue
            tried.clear()
            if left.get(kind, 0) == 0:
                return self._settle(job)
            left[kind] -= 1

    async def _dependencies(self, node: ExecuteNode, prepares: Prepares) -> dict[str, Any]:
        for needed in node.depends_on:
            if needed in self._jobs:
                other = await asyncio.shield(self._jobs[needed])
                if other.status is not Status.PASSED and not self._stop.is_set():
                    message = f"it needs job {other.id}, which {did(other.status)}"
                    cause = Cause(code=CauseCode.DEPENDENCY_FAILED, message=message)
                    return {"status": Status.SKIPPED, "cause": cause, "message": message}
            else:
                result = await prepares.early(needed)
                if result is None:
                    continue
                if result.outcome is Outcome.FAILED:
                    return prepare_failed(result)
                if not result.ok:
                    # Given up because the run ends: it has been told so, or is just about to be.
                    await self._stop.wait()
        if self._stop.is_set():
            return self._not_started(None)
        return {}

    def _not_started(self, job: JobRecord | None) -> dict[str, Any]:
        code, message = STOP_MESSAGES[self._stop.reason or StopReason.CANCELLED]
        skipped = self._stop.reason is StopReason.FAIL_FAST and not (job and job.attempt)
        status = Status.SKIPPED if skipped else Status.CANCELLED
        cause = Cause(code=code, message=message)
        return {"status": status, "failure_kind": None, "cause": cause, "message": message}

    async def _attempt(
        self,
        job: JobRecord,
        node: ExecuteNode,
        prepares: Prepares,
        logs: HostLogs,
        tried: set[str],
    ) -> tuple[JobRecord, bool]:
        """Try a job on a host that isn't among the `tried`, where those land that failed it.

        Returns the job, and whether another try may end otherwise.
        """
        async with AsyncExitStack() as held:
            await self._stop.unless(held.enter_async_context(self._room))
            choice = Choice(self._fleet.hosts_for(node), node)
            found = await self._stop.unless(choice.take(held, tried))
            for name, error in choice.failures.items():
                job = self._pass_over(job, name, error.message, logs)
            if found is None:
                await self._stop.unless(asyncio.sleep(NO_HOST_PAUSE_SECS))
                return self._no_host(job, choice), True
            host = found
            problem, inputs = await self._inputs(node, host, prepares)
            if problem:
                is_host_s = problem["failure_kind"] is FailureKind.INFRASTRUCTURE
                if is_host_s:
                    tried.add(host.name)
                    host.failures += 1
                    job = self._pass_over(job, host.name, problem["message"], logs)
                return job.with_(**problem), is_host_s
            attempt = AttemptRun(
                state=self._state,
                writer=self._writer,
                logs=logs,
                placement=host.placement,
                node=node,
                number=job.attempt + 1,
                inputs=inputs,
                images={image.role: image for image in self._plan.images},
                snapshot=host.snapshot,
                survey=host.surveys.get(node.runtime),
                keep=self._request.keep,
                stop=self._stop,
                departed=self._departed,
            )
            logs.begin(node.job_id, attempt.number)
            first = attempt.first_record()
            # What another host or another try had to say is in `passed_over` and `attempts`.
            started = job.started_at or timestamp()
            job = job.with_(host=host.name, started_at=started, message=None)
            self._writer.update_job(job.after(first))
            self._running.add(node.job_id)
            try:
                self._writer.emit(JobStarted(job_id=node.job_id, attempt=attempt.number))
                job = job.after(await attempt.run())
            finally:
                self._running.discard(node.job_id)
            if job.failure_kind is FailureKind.INFRASTRUCTURE:
                host.failures += 1
                if not attempt.was_launched:
                    tried.add(host.name)
                    job = self._pass_over(job, host.name, job.message or job_message(job), logs)
            return job, True

    async def _inputs(
        self, node: ExecuteNode, host: Host, prepares: Prepares
    ) -> tuple[dict[str, Any], dict[str, Path]]:
        """Where a job's prepared outputs are on a host, or why it can't have them."""
        found: dict[str, Path] = {}
        for needed in node.depends_on:
            if needed not in self._jobs:
                result = await self._stop.unless(prepares.on(host, needed))
                if not result.ok:
                    if self._stop.is_set():
                        raise StoppedError
                    return prepare_failed(result), {}
                found[needed] = Path(result.path or "")
        return {}, {ref.node_id: found[ref.node_id] for ref in node.execute.inputs}

    def _pass_over(
        self, job: JobRecord, host: str, reason: str | None, logs: HostLogs
    ) -> JobRecord:
        """Record that a host could not have a job."""
        why = reason or "it failed"
        logs.say([job.id], "pikaci", f"host {host} can't run it: {why}")
        row = PassedOver(host=host, reason=why, at=timestamp())
        job = job.with_(passed_over=[*job.passed_over, row])
        again = {"status": Status.RUNNING, "failure_kind": None, "cause": None}
        self._writer.update_job(job.with_(**again))
        return job

    def _no_host(self, job: JobRecord, choice: Choice) -> JobRecord:
        """The job that no host could be found for."""
        error = next(iter(choice.failures.values()))
        where = ", ".join(choice.failures)
        message = error.message if len(choice.failures) == 1 else f"no host fits any more: {where}"
        hint = error.hint if len(choice.failures) == 1 else "`passed_over` has the reasons"
        cause = Cause(code=CauseCode.HOST_UNAVAILABLE, message=message, hint=hint)
        kind = FailureKind.INFRASTRUCTURE
        return job.with_(status=Status.FAILED, failure_kind=kind, cause=cause, message=message)

    def _settle(self, job: JobRecord) -> JobRecord:
        job = job.with_(finished_at=timestamp(), message=job.message or job_message(job))
        self._writer.update_job(job)
        self._writer.emit(JobFinished(job=job, failure_kind=job.failure_kind))
        if job.status is Status.FAILED and self._request.fail_fast:
            self._stop.set(StopReason.FAIL_FAST)
        return job

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except StoppedError:
            pass
        except Exception as error:  # noqa: BLE001 - ends the run, in a terminal record
            self._break(error)

    async def _guard_job(
        self, node: ExecuteNode, work: Coroutine[Any, Any, JobRecord]
    ) -> JobRecord:
        try:
            return await work
        except Exception as error:  # noqa: BLE001 - ends the run, in a terminal record
            self._break(error)
            return self._broken_job(self._writer.job(node.job_id))

    def _broken_job(self, job: JobRecord) -> JobRecord:
        cause = Cause(code=CauseCode.ENVIRONMENT_FAILED, message=broken_message(self._failure))
        return job.cut_short(Status.FAILED, FailureKind.INFRASTRUCTURE, cause)

    def _break(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
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
                self._writer.emit(Heartbeat(running=sorted(self._running)))

    def _finish(self) -> None:
        jobs = [self._final_job(node) for node in self._plan.jobs]
        record = conclude(self._writer.record, jobs, self._stop.reason, self._failure)
        try:
            self._clean_up()
        finally:
            self._writer.finish(record)

    def _final_job(self, node: ExecuteNode) -> JobRecord:
        task = self._jobs.get(node.id)
        if task is not None and task.done() and not task.cancelled():
            return task.result()
        job = self._writer.job(node.job_id)
        if self._failure is None:
            # Whoever runs the engine cancelled it.
            code, message = STOP_MESSAGES[StopReason.CANCELLED]
            return job.cut_short(Status.CANCELLED, None, Cause(code=code, message=message))
        return self._broken_job(job)

    def _clean_up(self) -> None:
        layout = self._writer.layout
        try:
            if self._failure is not None and not isinstance(self._failure, OSError | PikaciError):
                text = "".join(traceback.format_exception(self._failure))
                (layout.root / INTERNAL_LOG).write_text(text)
            if self._request.keep is KeepPolicy.NEVER:
                remove_tree(layout.scratch)
        except OSError:
            # A full or failing disk: the next `reap` or `gc` removes what is left.
            return
