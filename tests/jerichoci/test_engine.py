from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.plan.plan import Resources, Retries
from jerichoci.record.record import Tool
from jerichoci.run.request import RunRequest, Source, first_record
from jerichoci.run.verdict import conclude
from jerichoci.runtime.host_process import HostProcess
from jerichoci.status import FailureKind, Status
from plans import RUN_ID, job, plan
from records import PHASES, check_events

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.record.event import EventBase
    from runner import Runner


def meet(place: Path, me: str, other: str) -> str:
    """A command that ends only when the other one runs at the same time."""
    return f"touch {place}/{me}; until [ -e {place}/{other} ]; do sleep 0.02; done"


def alone(place: Path) -> str:
    """A command that fails if it runs at the same time as another one of its kind."""
    return f"mkdir {place}/busy && sleep 0.2 && rmdir {place}/busy"


class Kinds:
    """A sink that keeps the kinds of the events."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def emit(self, event: EventBase) -> None:
        self.kinds.append(event.model_dump()["event"])


class Closed:
    """A sink whose reader has gone."""

    def emit(self, _event: EventBase) -> None:
        raise BrokenPipeError


async def test_the_events_tell_the_run_whatever_becomes_of_another_sink(runner: Runner) -> None:
    sink = Kinds()
    run = await runner.run(job("a"), sinks=[Closed(), sink])
    rows = check_events(run.layout)
    assert [row["event"] for row in rows] == sink.kinds
    assert rows[-1]["run"] == run.record.model_dump()
    assert [row["job"]["id"] for row in rows if row["event"] == "job_finished"] == ["a"]
    assert [phase.phase for phase in run.job("a").phases] == PHASES


async def test_jobs_run_at_the_same_time(runner: Runner, tmp_path: Path) -> None:
    jobs = [job("a", meet(tmp_path, "a", "b")), job("b", meet(tmp_path, "b", "a"))]
    assert (await runner.run(*jobs, max_jobs=2)).record.status is Status.PASSED


async def test_jobs_that_need_the_whole_host_run_one_after_the_other(
    runner: Runner, tmp_path: Path
) -> None:
    whole = Resources(cpus=10_000)
    jobs = [job(name, alone(tmp_path), resources=whole) for name in ("a", "b", "c")]
    assert (await runner.run(*jobs)).record.status is Status.PASSED


async def test_a_job_that_needs_a_failed_one_is_skipped_and_says_so(runner: Runner) -> None:
    run = await runner.run(job("a", "exit 1"), job("b", after=["a"]), job("c", after=["b"]))
    assert [run.job(name).status for name in "abc"] == [
        *(Status.FAILED, Status.SKIPPED, Status.SKIPPED)
    ]
    assert run.job("b").message == "depends on a, which failed"
    assert run.job("c").message == "depends on b, which was skipped"
    assert run.job("b").attempts == []


async def test_fail_fast_ends_what_runs_and_skips_what_has_not_begun(
    runner: Runner, tmp_path: Path
) -> None:
    run = await runner.run(
        job("a", f"until [ -e {tmp_path}/b ]; do sleep 0.02; done; exit 1"),
        job("b", f"touch {tmp_path}/b; sleep 600"),
        job("c", after=["b"]),
        fail_fast=True,
        max_jobs=2,
    )
    assert (run.record.status, run.record.failure_kind) == (
        *(Status.FAILED, FailureKind.TEST_FAILURE),
    )
    assert [run.job(name).status for name in "abc"] == [
        *(Status.FAILED, Status.CANCELLED, Status.SKIPPED)
    ]
    causes = [run.job(name).cause for name in "bc"]
    assert [cause.code for cause in causes if cause] == ["fail_fast", "fail_fast"]


async def test_a_run_takes_the_first_kind_of_its_jobs_failures_and_retries_no_other_kind(
    runner: Runner,
) -> None:
    late = job("late", "sleep 600", timeout_secs=1, retries=Retries(infrastructure=2, test=2))
    run = await runner.run(job("good"), late)
    assert run.record.failure_kind is FailureKind.TIMEOUT
    assert len(run.job("late").attempts) == 1
    run = await runner.run(late, job("bad", "exit 1", retries=Retries(infrastructure=3)))
    assert run.record.failure_kind is FailureKind.TEST_FAILURE
    assert len(run.job("bad").attempts) == 1


async def test_an_infrastructure_failure_is_retried_as_one(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = HostProcess.launch

    async def fail_once(_self: HostProcess) -> None:
        monkeypatch.setattr(HostProcess, "launch", launch)
        raise InfrastructureError("no luck")

    monkeypatch.setattr(HostProcess, "launch", fail_once)
    run = await runner.run(job("a", retries=Retries(infrastructure=1)))
    assert run.record.status is Status.PASSED
    first, second = run.job("a").attempts
    assert (first.failure_kind, second.status) == (FailureKind.INFRASTRUCTURE, Status.PASSED)
    assert first.cause
    assert (first.cause.phase, first.cause.message) == ("launch_guest", "no luck")


async def test_a_job_that_is_cancelled_before_its_retry_has_no_failure_kind(
    runner: Runner, tmp_path: Path
) -> None:
    run = asyncio.create_task(
        runner.run(
            job("a", "exit 1", retries=Retries(test=1)),
            job("b", f"touch {tmp_path}/second; sleep 600"),
            max_jobs=1,
            run_id=RUN_ID,
        )
    )
    await asyncio.to_thread(wait_for, (tmp_path / "second").exists)
    os.kill(os.getpid(), signal.SIGTERM)
    ended = await run
    assert ended.record.status is Status.CANCELLED
    assert ended.record.failure_kind is None
    first = ended.job("a")
    assert [row.failure_kind for row in first.attempts] == [FailureKind.TEST_FAILURE]
    assert (first.status, first.failure_kind) == (Status.CANCELLED, None)


async def test_a_run_that_is_told_to_end_as_soon_as_it_exists_is_cancelled(runner: Runner) -> None:
    told: list[str] = []

    class Ending:
        """Ends this process at the first event, as systemd does."""

        def emit(self, event: EventBase) -> None:
            if not told:
                told.append(event.model_dump()["event"])
                os.kill(os.getpid(), signal.SIGTERM)

    ended = await runner.run(job("a", "sleep 600"), sinks=[Ending()])
    assert told == ["run_started"]
    assert (ended.record.status, ended.job("a").status) == (Status.CANCELLED, Status.CANCELLED)


def test_only_failed_jobs_say_why_a_run_failed(runner: Runner) -> None:
    request = RunRequest(
        plan=plan(job("a"), job("b")), source=Source("", ""), tool=Tool(version="0")
    )
    record = first_record(runner.state, request, request.plan.with_(run_id=RUN_ID))
    kind = FailureKind.TEST_FAILURE
    stopped, broken = (
        row.with_(status=status, failure_kind=kind, message=status)
        for row, status in zip(record.jobs, (Status.CANCELLED, Status.FAILED), strict=True)
    )
    assert conclude(record, [stopped, broken], None, None).message == "failed"


def test_a_run_may_have_more_jobs_than_a_process_has_descriptors(runner: Runner) -> None:
    few = ["sh", "-c", 'ulimit -n 56; exec "$@"', "sh"]
    jobs = [job(f"j{number}") for number in range(60)]
    with runner.start(*jobs, prefix=few) as process:
        assert process.wait(60) == 0
    assert runner.ended().record.status is Status.PASSED


async def test_a_run_id_can_be_used_once(runner: Runner) -> None:
    first = await runner.run(job("a"), run_id=RUN_ID)
    with pytest.raises(UsageError, match=f"run {RUN_ID} exists already"):
        await runner.run(job("a", "exit 1"), run_id=RUN_ID)
    assert runner.ended().record == first.record


async def test_what_can_not_be_run_is_refused_before_anything_is_made(runner: Runner) -> None:
    with pytest.raises(UsageError, match="is not a run id"):
        await runner.run(job("a"), run_id="../evil")
    for field in ("runtime", "placement"):
        with pytest.raises(UsageError, match=f"unknown {field} 'cloud'"):
            await runner.run(job("a").with_(**{field: "cloud"}))
    assert list(runner.state.runs.iterdir()) == []


async def test_a_directory_of_records_is_its_owners_alone(runner: Runner) -> None:
    run = await runner.run(job("a", "touch $PIKACI_ARTIFACTS/x"))
    directories = [path for path in run.layout.root.rglob("*") if path.is_dir()]
    # A guest's user may read these, if they are shown to it.
    directories = [path for path in directories if "files" not in path.parts]
    assert {path.stat().st_mode & 0o777 for path in [run.layout.root, *directories]} == {0o700}


async def test_a_failing_clean_up_is_recorded_and_the_job_still_passes(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def release(_self: HostProcess, *, keep: bool) -> None:
        raise InfrastructureError(f"can't be removed {keep}")

    monkeypatch.setattr(HostProcess, "release", release)
    run = await runner.run(job("a"))
    assert run.record.status is Status.PASSED
    assert (run.job("a").phases[-1].phase, run.job("a").phases[-1].outcome) == (
        *("cleanup", "failed"),
    )
