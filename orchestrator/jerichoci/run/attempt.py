"""One attempt at a job: the phases in order, and whose fault it is if one fails."""

from __future__ import annotations

import asyncio
import errno
import signal
import time
import traceback
from contextlib import asynccontextmanager, suppress
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from jerichoci.errors import HostUnavailableError, PikaciError, ServiceError
from jerichoci.machine.artifact_limits import Admission, ArtifactLimits
from jerichoci.machine.ending import in_words
from jerichoci.machine.stop import StoppedError
from jerichoci.record.event import JobPhase
from jerichoci.record.record import ArtifactRecord, AttemptRecord, Cause, PhaseRecord
from jerichoci.run.runtimes import open_runtime
from jerichoci.run.silence import hearing
from jerichoci.run.verdict import stop_cause
from jerichoci.run.world import Asked, AttemptWorld
from jerichoci.runtime import Attempt, Finish, Runtime
from jerichoci.state.clock import milliseconds_since, timestamp
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import RunLayout, make_private
from jerichoci.state.trace import span
from jerichoci.status import CauseCode, FailureKind, KeepPolicy, Outcome, PhaseName, Status
from jerichoci.test_reports import REPORT_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from jerichoci.machine.artifacts import Artifact
    from jerichoci.plan.plan import ExecuteNode
    from jerichoci.record.record import TestSummary
    from jerichoci.run.context import RunContext
    from jerichoci.run.fleet import RunHost
    from jerichoci.services.services import ServiceEnd
    from jerichoci.world import World

COLLECT_SECS = 600.0
"""To read, hash and fetch what a job left: tens of gigabytes."""
TAKEN_AWAY = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EPERM, errno.EACCES})
"""Errors of a directory of artifacts that its job removed or replaced."""
KILLED = 128 + signal.SIGKILL
MOST_NOTED = 3
"""Reports that can't be read; the record has more of them."""

TRY_AGAIN = 75
"""A job's exit code for "something is missing here, try again": EX_TEMPFAIL of sysexits.h."""


class CommandFailedError(Exception):
    """The job's command failed."""

    def __init__(self, finish: Finish) -> None:
        super().__init__(f"exit code {finish.exit_code}")
        self.finish = finish


@dataclass
class AttemptRun:
    """What one attempt works with."""

    _run: RunContext
    _host: RunHost
    _node: ExecuteNode
    number: int
    _inputs: Mapping[str, Path]
    was_launched: bool = False
    """Whether the job was started: what fails before that is the host's fault."""
    _exit_code: int | None = None
    """Of a job that was stopped."""
    _notes: list[str] = field(default_factory=list)
    """What is to be said of it, whatever became of the job."""
    _tests: TestSummary | None = None
    _service_ends: list[ServiceEnd] = field(default_factory=list)
    _phases: list[PhaseRecord] = field(default_factory=list)
    _current: PhaseName | None = None
    _ended_in: PhaseName | None = None
    """The first phase that failed, or was cut short; others, such as the clean-up, follow it."""

    def __post_init__(self) -> None:
        self._stop = self._run.stop
        self._keep = self._run.request.keep
        self._placement = self._host.placement
        layout = self._run.writer.layout
        self._directory = layout.attempt(self._node.job_id, self.number)
        there = RunLayout(self._placement.run_directory(self._run.run_id))
        self._scratch = there.scratch / f"{self._node.job_id}-{self.number}"
        self._admission = Admission(
            limits.limits() if (limits := self._node.execute.artifacts) else ArtifactLimits()
        )
        self._world = AttemptWorld(
            Asked(
                run=self._run,
                host=self._host,
                node=self._node,
                number=self.number,
                inputs=self._inputs,
                directory=self._directory,
                scratch=self._scratch,
                note=self._note,
            )
        )
        self.record = AttemptRecord(
            number=self.number,
            host=self._placement.host,
            status=Status.RUNNING,
            host_log_path=layout.relative(self._directory / "host.log"),
            guest_log_path=layout.relative(self._directory / "guest.log"),
            started_at=timestamp(),
        )

    @asynccontextmanager
    async def _phase(self, name: PhaseName) -> AsyncIterator[None]:
        """Time a phase: two events, a record, a line in the log. It failed if the block raises."""
        started, start = timestamp(), time.monotonic()
        self._current = name
        self._emit(name, Outcome.STARTED)
        try:
            with span(f"{self._node.job_id}: {name}", "phase"):
                yield
            outcome = Outcome.PASSED
        except BaseException as error:
            outcome = Outcome.CANCELLED if isinstance(error, StoppedError) else Outcome.FAILED
            self._ended_in = self._ended_in or name
            raise
        finally:
            took = milliseconds_since(start)
            phase = PhaseRecord(
                phase=name,
                started_at=started,
                finished_at=timestamp(),
                duration_ms=took,
                outcome=outcome,
            )
            self._phases.append(phase)
            self._log(f"{name} {outcome} ({took} ms)")
            self._emit(name, outcome, took)

    def _emit(self, name: PhaseName, outcome: Outcome, took: int | None = None) -> None:
        job = self._node.job_id
        event = JobPhase(job_id=job, phase=name, outcome=outcome, duration_ms=took)
        self._run.writer.emit(event)

    async def run(self) -> AttemptRecord:
        """Go through the phases; the attempt's final record, whatever happened."""
        runtime: Runtime | None = None
        artifacts: list[Artifact] = []
        changes: dict[str, Any] = {}
        try:
            snapshot = await self._stage()
            async with self._phase(PhaseName.PREPARE_RUNTIME):
                world = await self._stop.unless(self._world.enter())
                runtime = self._runtime(snapshot, world)
                await self._stop.unless(runtime.prepare())
            async with self._phase(PhaseName.LAUNCH_GUEST):
                await self._stop.unless(runtime.launch())
            self.was_launched = True
            try:
                finish = await self._wait(runtime)
            except (CommandFailedError, StoppedError):
                artifacts = await self._salvage(runtime)
                raise
            artifacts = await self._collect(runtime)
            changes = {"status": Status.PASSED, "exit_code": finish.exit_code}
            await self._world.passed()
            if self._tests and self._tests.bad:
                self._note(f"exit code 0, but {self._tests.in_words()}")
        except CommandFailedError as error:
            changes = self._command_failed(error.finish)
        except StoppedError:
            changes = self._stopped()
        except PikaciError as error:
            changes = self._failed(error)
        except OSError as error:
            if error.errno == errno.ECANCELED and self._stop.is_set():
                changes = self._stopped()
            else:
                changes = self._broken(CauseCode.ENVIRONMENT_FAILED, str(error), None)
        except Exception:  # noqa: BLE001 - an internal error ends in a record, too, with its traceback
            self._log(traceback.format_exc())
            message = "pikaci itself failed; the host log has the traceback"
            changes = self._broken(CauseCode.INTERNAL_ERROR, message, None)
        finally:
            if runtime is not None:
                await self._release(runtime, changes.get("status"))
            await self._world.leave()
        # The runtime's own, which has more to say when what takes long is removed.
        execution = runtime.execution if runtime else {}
        execution |= self._world.facts()
        return self.record.with_(
            **changes,
            finished_at=timestamp(),
            notes=self._notes,
            phases=self._phases,
            execution=execution,
            artifacts=[ArtifactRecord(**vars(artifact)) for artifact in artifacts],
            tests=self._tests,
        )

    async def _stage(self) -> Path:
        """Have the attempt's directory here, and the snapshot where the job runs: its path."""
        async with self._phase(PhaseName.PREPARE_DIRECTORIES):
            make_private(self._directory)
        async with self._phase(PhaseName.STAGE_WORKSPACE_SNAPSHOT):
            return await self._stop.unless(self._host.snapshot())

    def _runtime(self, snapshot: Path, world: World) -> Runtime:
        return open_runtime(
            self._placement,
            Attempt(
                state=self._run.state,
                run_id=self._run.run_id,
                node=self._node,
                images={image.role: image for image in self._run.plan.images},
                number=self.number,
                survey=self._host.surveys.get(self._node.runtime),
                may_be_kept=self._keep is not KeepPolicy.NEVER,
                inputs=self._inputs,
                snapshot=snapshot,
                scratch=self._scratch,
                world=world,
                admission=self._admission,
                note=self._note,
                directory=self._directory,
            ),
        )

    async def _wait(self, runtime: Runtime) -> Finish:
        async with self._phase(PhaseName.WAIT_FOR_COMPLETION):
            finish = await self._finish(runtime)
            self._exit_code = finish.exit_code
            if finish.stopped:
                raise StoppedError
            if finish.timed_out or finish.exit_code != 0:
                raise CommandFailedError(finish)
        if finish.refused_processes:
            self._note(self._limit_of_processes())
        if finish.out_of_memory:
            self._note(f"some of it was killed: {self._limit_of_memory()}")
        return finish

    async def _finish(self, runtime: Runtime) -> Finish:
        logs = [self._directory / name for name in ("host.log", "guest.log")]
        secs = self._node.execute.silence_secs
        async with hearing(self._stop, secs, logs, self._placement) as heard:
            finish = await runtime.wait(heard.stop)
        if heard.was_silent and finish.stopped and not self._stop.is_set():
            return replace(finish, stopped=False, timed_out=True, silent=True)
        return finish

    async def _collect(self, runtime: Runtime) -> list[Artifact]:
        """Collect what the job left; what it did to that directory doesn't change its result."""
        async with self._phase(PhaseName.COLLECT_ARTIFACTS):
            try:
                artifacts = await runtime.collect(self._stop.within(COLLECT_SECS))
            except OSError as error:
                if error.errno in TAKEN_AWAY:
                    self._note(f"no artifacts: the job removed their directory ({error.strerror})")
                elif error.errno == errno.ENAMETOOLONG:
                    self._note(f"no artifacts: {error.strerror}")
                elif error.errno == errno.ECANCELED and not self._stop.is_set():
                    self._note(f"no artifacts: they were not collected within {COLLECT_SECS:g} s")
                else:
                    if error.errno == errno.ECANCELED:
                        self._note("no artifacts: the run was stopped while they were collected")
                    raise
                return []
            if refused := self._admission.note():
                self._note(refused)
            if names := [row.name for row in self._node.execute.services if row.image is None]:
                artifacts = self._take_services(names, artifacts)
            await self._read_tests([artifact.path for artifact in artifacts])
        return artifacts

    def _take_services(self, names: list[str], artifacts: list[Artifact]) -> list[Artifact]:
        """Take the services' logs from the job's artifacts, and note which ended early."""
        from jerichoci.services.services import LEFT, take_services

        files = self._directory / "artifacts/files"
        self._service_ends = take_services(files, self._directory / "services", names)
        for end in self._service_ends:
            self._note(end.message())
        return [artifact for artifact in artifacts if not artifact.path.startswith(f"{LEFT}/")]

    async def _read_tests(self, artifacts: list[str]) -> None:
        """Read the test reports; what is in them, and what is wrong with them, decides nothing."""
        if not (paths := [path for path in artifacts if path.endswith(REPORT_SUFFIXES)]):
            return
        from jerichoci.test_reports.reading import READ_SECS, read_reports

        files, into = self._directory / "artifacts" / "files", self._directory / "tests.jsonl"
        is_over = self._stop.within(READ_SECS)
        hide: Callable[[str], str] = str
        if secrets := self._run.secrets.get(self._node.id):
            from jerichoci.machine.redact import hiding

            hide = hiding(secrets.values())
        tests = await asyncio.to_thread(read_reports, files, paths, into, is_over, hide)
        if tests is None:
            return
        if not self._run.writer.make_room(tests):
            self._note("the tests are not in the record: no space left on the disk")
            return
        self._tests = tests
        for report in tests.reports[:MOST_NOTED]:
            if report.unreadable:
                self._note(f"test report {report.path}: {report.unreadable}")

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._log(text)

    def _log(self, text: str) -> None:
        self._run.logs.say([self._node.job_id], "pikaci", text)

    async def _salvage(self, runtime: Runtime) -> list[Artifact]:
        """Collect what a failed job left; a failure to do so doesn't change why the job failed."""
        try:
            return await self._collect(runtime)
        except (PikaciError, OSError) as error:
            self._log(f"could not collect the artifacts: {error}")
            return []

    async def _release(self, runtime: Runtime, status: Status | None) -> None:
        keep = self._keep is KeepPolicy.ALWAYS or (
            self._keep is KeepPolicy.ON_FAILURE and status is Status.FAILED
        )
        self._run.finished_runtimes.append(runtime)
        try:
            async with self._phase(PhaseName.CLEANUP):
                await runtime.release(keep=keep)
        except (PikaciError, OSError) as error:
            # Recorded as a failed phase; what the job's result is was decided before. A phase that
            # can't be recorded, the disk being full, has not even begun.
            with suppress(PikaciError, OSError):
                await runtime.release(keep=keep)
            self._log(f"clean-up failed: {error}")

    def _command_failed(self, finish: Finish) -> dict[str, Any]:
        name, limit, hint = self._node.job_id, self._node.execute.timeout_secs, None
        failed = [end for end in self._service_ends if end.failed_the_job]
        if failed and not finish.timed_out:
            message = failed[0].message()
            code, kind = CauseCode.SERVICE_FAILED, FailureKind.TEST_FAILURE
            hint = f"`pikaci logs {self._run.run_id} --job {name} --service {failed[0].name}`"
        elif finish.exit_code == TRY_AGAIN and not finish.timed_out:
            message = f'job {name} exited with {TRY_AGAIN} ("retry me")'
            code, kind = CauseCode.COMMAND_UNAVAILABLE, FailureKind.INFRASTRUCTURE
            hint = "check the log to see what was missing"
        elif finish.silent:
            silence = self._node.execute.silence_secs
            message = f"job {name} printed nothing for {silence} s (`silenceSecs`)"
            code, kind = CauseCode.COMMAND_SILENT, FailureKind.TIMEOUT
            hint = "check the log to see what it waits for; raise `silenceSecs` if it is only quiet"
        elif finish.timed_out:
            message = f"job {name} timed out after {limit} s (`timeoutSecs`)"
            code, kind = CauseCode.COMMAND_TIMED_OUT, FailureKind.TIMEOUT
            hint = "check the log to see how far it got; raise `timeoutSecs` if it needs more time"
        else:
            message = f"job {name} {in_words(finish.exit_code, finish.signal)}"
            if self._tests and self._tests.bad:
                message = self._tests.in_words()
            message = "; ".join([message, *(end.message() for end in self._service_ends)])
            code, kind = CauseCode.COMMAND_FAILED, FailureKind.TEST_FAILURE
        if finish.refused_processes:
            message += f"; {self._limit_of_processes()}"
            hint = "raise `resources.pids`, or have the job start fewer"
        if finish.out_of_memory:
            message, hint = self._out_of_memory(finish, message)
        changes = _failed(PhaseName.WAIT_FOR_COMPLETION, kind, code, message, hint)
        return {**changes, "exit_code": finish.exit_code}

    def _out_of_memory(self, finish: Finish, message: str) -> tuple[str, str]:
        """The message and hint for a job of which the kernel killed a process."""
        why = self._limit_of_memory()
        if finish.exit_code == KILLED and not finish.timed_out:
            message = f"job {self._node.job_id} was killed: {why}"
        else:
            message += f"; some of it was killed: {why}"
        return message, "raise `resources.memoryMib`, or have the job use less"

    def _limit_of_processes(self) -> str:
        limit = self._node.execute.resources.pids
        return f"it could start no more processes at times: limit {limit} (`resources.pids`)"

    def _limit_of_memory(self) -> str:
        limit = self._node.execute.resources.memory_mib
        at = "" if limit is None else f", limit {limit} MiB (`resources.memoryMib`)"
        return f"out of memory{at}"

    def _stopped(self) -> dict[str, Any]:
        cause = stop_cause(self._stop.reason).with_(phase=self._ended_in or self._current)
        return {"status": Status.CANCELLED, "cause": cause, "exit_code": self._exit_code}

    def _failed(self, error: PikaciError) -> dict[str, Any]:
        if isinstance(error, ServiceError):
            kind, code = FailureKind.TEST_FAILURE, CauseCode.SERVICE_FAILED
            return self._broken(code, error.message, error.hint, kind)
        if self._stop.is_set() and isinstance(error, HostUnavailableError):
            # The host could not be asked to stop the job; it does so when the connection is gone.
            self._log(error.message)
            return self._stopped()
        return self._broken(CauseCode.RUNTIME_UNAVAILABLE, error.message, error.hint)

    def _broken(
        self,
        code: CauseCode,
        message: str,
        hint: str | None,
        kind: FailureKind = FailureKind.INFRASTRUCTURE,
    ) -> dict[str, Any]:
        self._log(message)
        return _failed(self._ended_in or self._current, kind, code, message, hint)


def _failed(
    phase: PhaseName | None, kind: FailureKind, code: CauseCode, message: str, hint: str | None
) -> dict[str, Any]:
    cause = Cause(phase=phase, code=code, message=message, hint=hint)
    return {"status": Status.FAILED, "failure_kind": kind, "cause": cause}
