"""One job of a run: wait for what it needs, take a host, bring its inputs, try it, record it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jerichoci.machine.stop import StoppedError, StopReason
from jerichoci.record.event import JobFinished, JobStarted
from jerichoci.record.record import Cause, JobRecord, PassedOver
from jerichoci.run.attempt import AttemptRun
from jerichoci.run.host_choice import HostChoice
from jerichoci.run.verdict import job_message, prepare_failed, stop_cause
from jerichoci.state.clock import timestamp
from jerichoci.status import CauseCode, FailureKind, Outcome, Status

if TYPE_CHECKING:
    from jerichoci.plan.plan import ExecuteNode
    from jerichoci.run.context import RunContext
    from jerichoci.run.fleet import RunHost
    from jerichoci.run.prepare import Prepares

NO_HOST_PAUSE_SECS = 1.0
"""Before hosts are asked again that none of could have a job."""


class JobRun:
    """A job, from its first wait to its final record."""

    def __init__(self, run: RunContext, prepares: Prepares, node: ExecuteNode) -> None:
        self._run = run
        self._prepares = prepares
        self._node = node
        self._hosts = run.fleet.hosts_for(node)
        self._job = run.writer.job(node.job_id)
        self._tried: set[str] = set()
        """The hosts that failed it before it was launched; the others are asked first."""

    async def run(self) -> JobRecord:
        if self._node.id not in self._run.selected:
            cause = Cause(code=CauseCode.NOT_SELECTED, message="not selected")
            return await self._end(status=Status.SKIPPED, cause=cause)
        try:
            problem = await self._wait_for_needs()
            if problem:
                return await self._end(**problem)
            return await self._try_until_over()
        except StoppedError:
            return await self._end(**self._not_started())

    async def _try_until_over(self) -> JobRecord:
        retries = self._node.execute.retries
        left = {
            FailureKind.INFRASTRUCTURE: retries.infrastructure,
            FailureKind.TEST_FAILURE: retries.test,
        }
        while True:
            may_end_otherwise = await self._try()
            kind = self._job.failure_kind
            if kind is None or not may_end_otherwise or self._run.stop.is_set():
                return await self._end()
            if self._tried and len(self._tried) < len(self._hosts):
                continue
            self._tried.clear()
            if left.get(kind, 0) == 0:
                return await self._end()
            left[kind] -= 1

    async def _wait_for_needs(self) -> dict[str, Any]:
        """Wait for all that doesn't need a host first; why the job can't be run, if so."""
        for needed in self._node.depends_on:
            if needed in self._run.jobs:
                other = await asyncio.shield(self._run.jobs[needed])
                if other.status is not Status.PASSED and not self._run.stop.is_set():
                    how = "was skipped" if other.status is Status.SKIPPED else other.status
                    message = f"depends on {other.id}, which {how}"
                    cause = Cause(code=CauseCode.DEPENDENCY_FAILED, message=message)
                    return {"status": Status.SKIPPED, "cause": cause, "message": message}
                continue
            result = await self._prepares[needed].result_if_placed()
            if result is not None and result.outcome is Outcome.FAILED:
                return prepare_failed(result)
            if result is not None and not result.ok:
                # Given up because the run is being stopped, now or in a moment.
                await self._run.stop.wait()
        if self._run.stop.is_set():
            raise StoppedError
        return {}

    def _not_started(self) -> dict[str, Any]:
        reason = self._run.stop.reason
        skipped = reason is StopReason.FAIL_FAST and not self._job.attempt
        status = Status.SKIPPED if skipped else Status.CANCELLED
        cause = stop_cause(reason)
        end = {"failure_kind": None, "cause": cause, "message": cause.message}
        return {"status": status, **end}

    async def _try(self) -> bool:
        """Try it once; whether another try may end otherwise."""
        stop = self._run.stop
        async with AsyncExitStack() as held:
            await stop.unless(held.enter_async_context(self._run.free_places))
            choice = HostChoice(self._hosts, self._node)
            host = await stop.unless(choice.acquire(held, self._tried))
            for name, error in choice.failures.items():
                self._pass_over(name, error.message)
            if host is None:
                await stop.unless(asyncio.sleep(NO_HOST_PAUSE_SECS))
                self._no_host(choice)
                return True
            problem, inputs = await self._inputs(host)
            if problem:
                is_hosts = problem["failure_kind"] is FailureKind.INFRASTRUCTURE
                if is_hosts:
                    self._failed_by(host, problem["message"])
                self._job = self._job.with_(**problem)
                return is_hosts
            await self._attempt(host, inputs)
            return True

    async def _inputs(self, host: RunHost) -> tuple[dict[str, Any], dict[str, Path]]:
        """Where the prepared outputs are on a host, or why the job can't have them."""
        found: dict[str, Path] = {}
        for needed in self._node.depends_on:
            if needed not in self._run.jobs:
                work = self._prepares[needed].result_on(host)
                result = await self._run.stop.unless(work)
                if not result.ok:
                    if self._run.stop.is_set():
                        raise StoppedError
                    return prepare_failed(result), {}
                found[needed] = Path(result.path or "")
        return {}, {ref.node_id: found[ref.node_id] for ref in self._node.execute.shown_inputs}

    async def _attempt(self, host: RunHost, inputs: dict[str, Path]) -> None:
        run, name = self._run, self._node.job_id
        attempt = AttemptRun(run, host, self._node, self._job.attempt + 1, inputs)
        run.logs.begin(name, attempt.number)
        # What another host or another try had to say is in `passed_over` and `attempts`.
        started = self._job.started_at or timestamp()
        self._job = self._job.with_(host=host.name, started_at=started, message=None)
        run.writer.update_job(self._job.after(attempt.record))
        run.running.add(name)
        try:
            run.writer.emit(JobStarted(job_id=name, attempt=attempt.number))
            self._job = self._job.after(await attempt.run())
        finally:
            run.running.discard(name)
        if self._job.failure_kind is FailureKind.INFRASTRUCTURE:
            if attempt.was_launched:
                host.failures += 1
            else:
                self._failed_by(host, self._job.message or job_message(self._job))

    def _failed_by(self, host: RunHost, reason: str | None) -> None:
        """Try the other hosts first from now on."""
        host.failures += 1
        self._tried.add(host.name)
        self._pass_over(host.name, reason)

    def _pass_over(self, host: str, reason: str | None) -> None:
        """Record that a host could not have the job."""
        why = reason or "it failed"
        self._run.logs.say([self._job.id], "pikaci", f"host {host} was skipped: {why}")
        row = PassedOver(host=host, reason=why, at=timestamp())
        self._job = self._job.with_(passed_over=[*self._job.passed_over, row])
        again = {"status": Status.RUNNING, "failure_kind": None, "cause": None}
        self._run.writer.update_job(self._job.with_(**again))

    def _no_host(self, choice: HostChoice) -> None:
        """Have the job fail, for no host could be found for it."""
        error = next(iter(choice.failures.values()))
        message, hint = error.message, error.hint
        if len(choice.failures) > 1:
            message = f"no host fits any more: {', '.join(choice.failures)}"
            hint = f"see `pikaci status {self._run.run_id}` for why each host was skipped"
        self._job = self._job.with_(
            status=Status.FAILED,
            failure_kind=FailureKind.INFRASTRUCTURE,
            cause=Cause(code=CauseCode.HOST_UNAVAILABLE, message=message, hint=hint),
            message=message,
        )

    async def _end(self, **changes: Any) -> JobRecord:  # noqa: ANN401 - fields of the record
        job = self._job.with_(**changes, finished_at=timestamp())
        job = job.with_(message=job.message or job_message(job))
        await self._run.writer.end_job(job)
        self._run.writer.emit(JobFinished(job=job, failure_kind=job.failure_kind))
        if job.status is Status.FAILED and self._run.request.fail_fast:
            self._run.stop.set(StopReason.FAIL_FAST)
        return job
