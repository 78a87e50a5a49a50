"""How a run ends that does not end by itself: signals, cancel requests, full disks, our errors."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import pytest

from disk import fill, mounted
from e2e.project import processes, wait_for
from jerichoci.errors import InfrastructureError
from jerichoci.plan.artifacts import Artifacts
from jerichoci.plan.plan import Retries
from jerichoci.record.event import EventBase, JobPhase
from jerichoci.record.rundir import RunWriter
from jerichoci.run.job import JobRun
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.state.layout import StateLayout
from jerichoci.status import FailureKind, Status
from plans import RUN_ID, job
from records import check_events
from runner import Runner
from usertree import UserTree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_SECS = 60


def begins(begun: Path, then: str) -> str:
    return f"touch {begun}; {then}"


async def runner_on(disk: Path) -> Runner:
    """An engine whose state root lies on a small disk."""
    user = UserTree(disk.with_name("user"))
    user.write("README", "hello\n")
    state = StateLayout(disk / "state")
    state.make()
    return Runner(state, (await take_snapshot(state.root, user.root)).tree)


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A file that a job makes when it has begun."""
    return tmp_path / "begun"


def test_a_signal_cancels_the_run_and_a_job_may_end_itself(
    runner: Runner, begun: Path, marker: str
) -> None:
    ends = begun.with_name("ends")
    jobs = [
        job("a", begins(begun, f"sh -c 'sleep 600; : {marker}'")),
        job("b", after=["a"]),
        job("ends", f"trap 'exit 7' TERM; {begins(ends, 'sleep 600 & wait')}"),
    ]
    with runner.start(*jobs) as process:
        wait_for(lambda: begun.exists() and ends.exists())
        process.terminate()
        assert process.wait(DEADLINE_SECS) == 0
    run = runner.ended()
    assert run.record.status is Status.CANCELLED
    assert {row.status for row in run.record.jobs} == {Status.CANCELLED}
    assert run.job("ends").exit_code == 7
    assert not run.layout.scratch.exists()
    assert processes(marker) == []
    check_events(run.layout)


def test_a_second_signal_does_not_wait_for_a_job_that_ignores_the_first(
    runner: Runner, begun: Path, marker: str
) -> None:
    heard = begun.with_name("heard")
    command = f"trap 'touch {heard}' TERM; touch {begun}; while :; do sleep 0.1; done; : {marker}"
    with runner.start(job("a", command), grace_secs=600) as process:
        wait_for(begun.exists)
        process.send_signal(signal.SIGINT)
        wait_for(heard.exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_SECS) == 0
    assert runner.ended().record.status is Status.CANCELLED
    assert processes(marker) == []


def test_a_signal_does_not_wait_for_large_artifacts(runner: Runner, begun: Path) -> None:
    large = 'truncate -s 4T "$PIKACI_ARTIFACTS/sparse"'
    over = f"until [ -e {begun} ]; do sleep 0.05; done; {large}"
    kept = Artifacts(max_mib=2**23)
    sleeping = f"{large}; {begins(begun, 'sleep 600')}"
    jobs = [job("over", over, artifacts=kept), job("a", sleeping, artifacts=kept)]
    with runner.start(*jobs) as process:
        wait_for(lambda: begun.exists() and "collect_artifacts" in events_text(runner))
        process.terminate()
        assert process.wait(DEADLINE_SECS) == 0
    rows = runner.ended().record.jobs
    assert {row.status for row in rows} == {Status.CANCELLED}
    phases = [row.cause.phase for row in rows if row.cause]
    assert phases == ["collect_artifacts", "wait_for_completion"]
    assert [row.exit_code for row in rows] == [0, 143]
    notes = [attempt.notes for row in rows for attempt in row.attempts]
    assert notes == [["no artifacts: the run was stopped while they were collected"]] * 2


def events_text(runner: Runner) -> str:
    path = runner.state.run(RUN_ID).events
    return path.read_text() if path.exists() else ""


async def test_a_job_that_fail_fast_ends_says_where_it_was(runner: Runner, begun: Path) -> None:
    fails = f"until [ -e {begun} ]; do sleep 0.1; done; exit 1"
    jobs = [job("a", begins(begun, "sleep 600")), job("b", fails)]
    run = await runner.run(*jobs, fail_fast=True)
    cause = run.job("a").cause
    assert cause
    assert (cause.code, cause.phase) == ("fail_fast", "wait_for_completion")


async def test_an_error_of_ours_ends_in_a_record_with_its_traceback(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, marker: str
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(JobRun, "_end", broken)
    run = await runner.run(job("a"), job("b", f"sh -c 'sleep 600; : {marker}'"))
    assert run.record.failure_kind is FailureKind.INFRASTRUCTURE
    assert run.record.cause
    assert run.record.cause.code == "internal_error"
    assert "RuntimeError: a bug" in (run.layout.root / "internal-error.log").read_text()
    assert not run.layout.scratch.exists()
    assert processes(marker) == []
    check_events(run.layout)


async def test_an_error_of_ours_in_a_phase_has_its_traceback_in_the_host_log(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("jerichoci.runtime.host_process.HostProcess.prepare", broken)
    run = await runner.run(job("a"))
    assert run.record.failure_kind is FailureKind.INFRASTRUCTURE
    assert "RuntimeError: a bug" in run.log("a")
    assert not run.layout.scratch.exists()


async def test_a_run_whose_task_is_cancelled_ends_in_a_record_and_leaves_nothing(
    runner: Runner, begun: Path, marker: str
) -> None:
    jobs = [job("a", begins(begun, f"sh -c 'sleep 600; : {marker}'")), job("b", "sleep 600")]
    running = asyncio.create_task(runner.run(*jobs, run_id=RUN_ID))
    await asyncio.to_thread(wait_for, begun.exists)
    running.cancel()
    await asyncio.wait({running})
    run = runner.ended()
    assert run.record.status is Status.CANCELLED
    assert {row.status for row in run.job("a").attempts} == {Status.CANCELLED}
    assert not run.layout.scratch.exists()
    assert processes(marker) == []
    check_events(run.layout)


async def test_a_job_whose_start_can_not_be_recorded_is_ended(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, marker: str
) -> None:
    emit = RunWriter.emit

    def full(self: RunWriter, event: EventBase) -> None:
        if isinstance(event, JobPhase) and event.phase == "launch_guest" and event.duration_ms:
            monkeypatch.setattr(RunWriter, "emit", no_room)
            no_room(self, event)
        emit(self, event)

    def no_room(_self: RunWriter, _event: EventBase) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunWriter, "emit", full)
    run = await runner.run(job("a", f"sh -c 'sleep 600; : {marker}'"))
    assert run.record.failure_kind is FailureKind.INFRASTRUCTURE
    assert processes(marker) == []
    assert not run.layout.scratch.exists()


@pytest.mark.parametrize(
    "command",
    [
        "cat /dev/zero > big",
        'cat /dev/zero > "$PIKACI_ARTIFACTS/big"',
        "cat /dev/zero",
        'cat /dev/zero > "$PIKACI_ARTIFACTS/big"; exit 0',
    ],
)
async def test_a_disk_that_a_job_fills_still_ends_in_a_whole_record(
    small_disk: Path, command: str
) -> None:
    runner = await runner_on(small_disk)
    run = await runner.run(job("a", command, timeout_secs=30), job("b", after=["a"]))
    assert run.record.status is Status.FAILED
    assert run.record == runner.ended(run.record.run_id).record
    assert json.loads(run.layout.status("a").read_bytes())["status"] == "failed"
    assert {row.status for row in run.job("a").attempts} <= {Status.FAILED}
    assert not list(run.layout.root.rglob("*.tmp-*"))
    assert not run.layout.reserve.exists()
    check_events(run.layout)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 16 MiB."""
    with mounted(tmp_path / "16m", "16m") as directory:
        yield directory


@pytest.mark.parametrize("count", [1, 60])
async def test_a_disk_that_is_filled_has_room_for_the_record_of_many_jobs(
    disk: Path, count: int
) -> None:
    runner = await runner_on(disk)
    fills = f"cat /dev/zero > {disk}/filler; true"
    jobs = [job(f"j{number}", retries=Retries(infrastructure=1)) for number in range(count)]
    # What one frees that is over is not enough for another one to begin.
    run = await runner.run(job("fills", fills), *jobs, job("last", after=["fills"]))
    assert run.record.failure_kind is FailureKind.INFRASTRUCTURE
    assert run.record == runner.ended(run.record.run_id).record
    for row in run.record.jobs:
        assert json.loads(run.layout.status(row.id).read_bytes())["status"] == row.status
    assert not run.layout.reserve.exists()
    check_events(run.layout)


async def test_a_status_that_can_not_be_written_does_not_keep_the_run_from_its_end(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunWriter, "_write_status", full)
    run = await runner.run(job("a"), job("b"))
    assert run.record.failure_kind is FailureKind.INFRASTRUCTURE
    assert run.record == runner.ended(run.record.run_id).record
    assert not list(run.layout.root.rglob("*.tmp-*"))
    check_events(run.layout)


async def test_a_run_that_can_not_even_begin_leaves_nothing(small_disk: Path) -> None:
    runner = await runner_on(small_disk)
    fill(small_disk, leave=16 * 1024)
    with pytest.raises(
        InfrastructureError, match=r"the run can't be recorded in .*: No space left"
    ):
        await runner.run(job("a"))
    assert list(runner.state.runs.iterdir()) == []


def test_a_state_root_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match="can't be written: Not a directory"):
        StateLayout(tmp_path / "file/state").make()
