"""How jobs in VMs end: by themselves, late, cancelled, with the process that runs them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from e2e.project import wait_for
from incus.guest_project import ending, until
from jerichoci.cleanup.gc import reap
from jerichoci.plan.plan import Resources
from jerichoci.status import CauseCode, FailureKind, PhaseName, Status
from plans import RUN_ID
from records import check_events
from tart.left import assert_nothing_is_left, cancel_when, has_begun, job_vms, said, vm_name
from tart_jobs import vm_job

if TYPE_CHECKING:
    from runner import Ended, Runner
    from tart.faults import Step
    from tart.mac import Mac

LINES = 3000
HEAD = f"seq {LINES}; "
"""What a job says before it hangs."""
END_SECS = 60.0
HOLDS: dict[str, dict[str, Any]] = {
    "clone": {"step": "clone", "kind": "hang"},
    "set": {"step": "set", "kind": "hang"},
    "run": {"step": "run", "kind": "hang"},
    "boot": {"step": "boot", "kind": "late", "secs": 600.0, "seen": "exec"},
    "probe": {"step": "exec", "kind": "hang", "matching": " true$"},
    "bootstrap": {"step": "exec", "kind": "hang", "matching": "bootstrap"},
}
"""What a run hangs in."""
SLOW_ENDS = ("stop", "delete")


pytestmark = pytest.mark.usefixtures("base")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts wait for a second, instead of a minute, longer than the guests' runners."""
    for name, secs in (("GRACE_SECS", 0.5), ("KILL_SECS", 0.5), ("HOST_MARGIN_SECS", 1.0)):
        monkeypatch.setattr(f"jerichoci.runtime.job_guest.{name}", secs)


def end_of(run: Ended, name: str = "a") -> tuple[str, str | None, int | None]:
    job = run.job(name)
    return job.status, job.failure_kind, job.exit_code


def assert_log_is_complete(runner: Runner) -> None:
    assert said(runner.state).splitlines()[:LINES] == [
        str(number) for number in range(1, LINES + 1)
    ]


# By themselves


@pytest.mark.parametrize(
    ("command", "end"),
    [
        ("exit 7", ("failed", "test_failure", 7)),
        ("kill -SEGV $$", ("failed", "test_failure", 128 + 11)),
    ],
)
async def test_a_job_s_exit_code_is_its_command_s_whatever_it_leaves_running(
    runner: Runner, mac: Mac, command: str, end: tuple[str, str, int]
) -> None:
    left = "sleep 600 & setsid sleep 600 &"
    job = vm_job("a", f"{left} echo why; echo kept > $PIKACI_ARTIFACTS/kept; {command}")
    run = await runner.run(job, run_id=RUN_ID)
    assert end_of(run) == end
    assert said(runner.state).startswith("why\n")
    assert [row.path for row in run.job("a").artifacts] == ["kept"]
    assert_nothing_is_left(mac, runner.state)


# Late


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
async def test_a_late_job_is_ended_in_the_guest_and_its_log_is_whole(
    runner: Runner, mac: Mac, trap: str
) -> None:
    command = f"{trap}{HEAD} echo kept > $PIKACI_ARTIFACTS/kept; while :; do sleep 0.1; done"
    run = await runner.run(vm_job("a", command, timeout_secs=1), run_id=RUN_ID)
    assert run.job("a").failure_kind is FailureKind.TIMEOUT
    assert_log_is_complete(runner)
    result = run.layout.attempt("a", 1) / "artifacts/result.json"
    assert '"timed_out"' in result.read_text()
    assert [row.path for row in run.job("a").artifacts] == ["kept"]
    assert_nothing_is_left(mac, runner.state)


@pytest.mark.usefixtures("hasty")
async def test_a_guest_whose_job_kills_the_runner_is_ended_by_the_host(
    runner: Runner, mac: Mac
) -> None:
    command = f"{HEAD} kill -KILL $PPID; sleep 60"
    job = vm_job("a", command, timeout_secs=1, run_as_root=True)
    run = await runner.run(job, run_id=RUN_ID)
    assert end_of(run) == ("failed", "timeout", None)
    assert_log_is_complete(runner)
    assert_nothing_is_left(mac, runner.state)


# Cancelled


def test_a_cancelled_job_hears_term_first(runner: Runner, mac: Mac) -> None:
    command = "trap 'echo ended; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    with ending(runner.start(vm_job("a", command))) as process:
        wait_for(lambda: "up" in said(runner.state))
        process.send_signal(signal.SIGINT)
        process.wait(END_SECS)
    run = runner.ended()
    assert run.record.status is Status.CANCELLED
    assert end_of(run) == ("cancelled", None, 3)
    assert said(runner.state).endswith("ended\n")
    result = run.layout.attempt("a", 1) / "artifacts/result.json"
    assert "stop" in result.read_text()
    assert_nothing_is_left(mac, runner.state)


@pytest.mark.usefixtures("hasty")
async def test_a_cancelled_job_that_ignores_term_is_killed(runner: Runner, mac: Mac) -> None:
    command = "trap '' TERM; echo kept > $PIKACI_ARTIFACTS/kept; echo up; while :; do sleep 1; done"
    run = await cancel_when(lambda: "up" in said(runner.state), runner, vm_job("a", command))
    assert [row.path for row in run.job("a").artifacts] == ["kept"]
    assert_nothing_is_left(mac, runner.state)


@pytest.mark.parametrize("name", HOLDS)
async def test_a_run_can_be_cancelled_at_each_step_that_hangs(
    runner: Runner, mac: Mac, name: str
) -> None:
    fault = dict(HOLDS[name])
    seen = fault.pop("seen", fault["step"])
    mac.fail(**fault)
    matching = fault.get("matching", "").strip("$ ")
    run = await cancel_when(
        lambda: any(matching in call.line for call in mac.calls(seen)),
        runner,
        vm_job("a", until("never"), resources=Resources(cpus=2)),
    )
    cause = run.job("a").cause
    assert cause
    assert (cause.code, cause.phase) == (CauseCode.CANCELLED, PhaseName.LAUNCH_GUEST)
    check_events(run.layout)
    assert_nothing_is_left(mac, runner.state)


@pytest.mark.parametrize(
    "phase",
    # Steps that hang and jobs that are told to end, above, are in the other phases.
    [
        PhaseName.PREPARE_DIRECTORIES,
        PhaseName.STAGE_WORKSPACE_SNAPSHOT,
        PhaseName.PREPARE_RUNTIME,
        PhaseName.COLLECT_ARTIFACTS,
    ],
)
def test_a_run_can_be_cancelled_between_its_steps(
    runner: Runner, mac: Mac, phase: PhaseName
) -> None:
    is_over = phase == PhaseName.COLLECT_ARTIFACTS
    command = "head -c 20M /dev/zero > $PIKACI_ARTIFACTS/large" if is_over else until("never")
    with ending(runner.start(vm_job("a", command))) as process:
        wait_for(lambda: has_begun(runner.state, phase))
        process.send_signal(signal.SIGINT)
        process.wait(END_SECS)
    run = runner.ended()
    # What was over when the word came is what it was.
    over = {"passed"} if is_over else set()
    assert run.job("a").status in {"cancelled"} | over, run.log("a")
    assert_nothing_is_left(mac, runner.state)


@pytest.mark.parametrize("step", SLOW_ENDS)
def test_a_run_that_is_cancelled_while_its_vm_goes_still_removes_it(
    runner: Runner,
    mac: Mac,
    step: Step,
) -> None:
    mac.fail(step, "late", secs=0.5)
    with ending(runner.start(vm_job("a"))) as process:
        wait_for(lambda: mac.calls(step))
        process.send_signal(signal.SIGINT)
        process.wait(END_SECS)
    assert runner.ended().job("a").status is Status.PASSED
    assert_nothing_is_left(mac, runner.state)


def test_who_asks_twice_does_not_wait_for_the_job(runner: Runner, mac: Mac) -> None:
    command = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    with ending(runner.start(vm_job("a", command))) as process:
        wait_for(lambda: "up" in said(runner.state))
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.wait(8)  # the job has 10 s to end in order
    assert runner.ended().record.status is Status.CANCELLED
    assert_nothing_is_left(mac, runner.state)


# Killed


@pytest.mark.parametrize(
    ("name", "has_note"),
    [("job", False), ("job", True), ("bootstrap", True)],
)
def test_a_vm_whose_run_was_killed_is_reaped(
    runner: Runner, mac: Mac, name: str, *, has_note: bool
) -> None:
    if name != "job":
        fault = {key: value for key, value in HOLDS[name].items() if key != "seen"}
        mac.fail(**fault)
    with ending(runner.start(vm_job("a", f"echo up; {until('never')}"))) as process:
        if name == "job":
            wait_for(lambda: "up" in said(runner.state))
        else:
            wait_for(lambda: len(mac.calls("exec")) > 1)
        process.kill()
    assert job_vms(mac)
    for path in runner.state.root.glob("elsewhere/tart/*.json") if not has_note else ():
        path.unlink()
    mac.heal()  # what hung has lost its parent
    reaped = reap(runner.state)
    assert reaped.runs == (RUN_ID,)
    cause = runner.ended().record.cause
    assert cause
    assert cause.code == CauseCode.OWNER_DIED
    assert_nothing_is_left(mac, runner.state)


def test_a_clone_that_ends_after_its_run_was_reaped_goes_with_the_next(
    runner: Runner, mac: Mac
) -> None:
    mac.fail("clone", "late", secs=1.0)
    with ending(runner.start(vm_job("a"))) as process:
        wait_for(lambda: mac.calls("clone"))
        process.kill()
    reap(runner.state)
    wait_for(lambda: job_vms(mac))
    assert reap(runner.state).guests == (vm_name(runner.state),)
    assert_nothing_is_left(mac, runner.state)
