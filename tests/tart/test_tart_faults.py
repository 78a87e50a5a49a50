"""Whatever goes wrong with a VM is infrastructure, told in a sentence, and leaves nothing."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from e2e.project import wait_for
from incus.guest_project import let_go, until
from jerichoci.cleanup.gc import reap
from jerichoci.plan.plan import ExecuteNode, Resources, Retries
from jerichoci.status import FailureKind, KeepPolicy, Outcome, PhaseName, Status
from plans import RUN_ID
from tart.left import assert_nothing_is_left, cancel_when, job_vms, said, vm_name
from tart_jobs import BASE, vm_job

if TYPE_CHECKING:
    from jerichoci.record.record import Cause
    from runner import Runner
    from tart.faults import Kind, Step
    from tart.mac import Mac

QUICK = "echo said; echo kept > $PIKACI_ARTIFACTS/kept"


@pytest.fixture(autouse=True)
def base(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes at most takes a second here."""
    mac.add_base(BASE)
    secs = {"command.STOP_SECS": 1, "vm.SYNC_SECS": 1.0, "vm.BOOT_PAUSE_SECS": 0.05}
    for name, value in (secs | {"vm.LAST_PAUSE_SECS": 0.2}).items():
        monkeypatch.setattr(f"jerichoci.runtime.tart.{name}", value)


async def fails(runner: Runner, job: ExecuteNode, phase: PhaseName, **request: Any) -> Cause:  # noqa: ANN401
    """Run a job that infrastructure fails in a phase; why, in a sentence."""
    run = await runner.run(job, run_id=RUN_ID, **request)
    record = run.job("a")
    assert record.status is Status.FAILED, run.log("a")
    assert record.failure_kind is FailureKind.INFRASTRUCTURE
    cause = record.cause
    assert cause
    assert cause.phase == phase
    assert "\n" not in cause.message
    assert "Traceback" not in run.log("a")
    return cause


# Before the job


@pytest.mark.parametrize(
    ("job", "fault", "sentence"),
    [
        # The first look comes before the run begins.
        (
            vm_job("a"),
            {"step": "list", "message": "the disk is full", "skip": 1},
            r"^`tart list .*` failed \(exit code 1\): the disk is full$",
        ),
        (
            vm_job("a", base="ghcr.io/org/missing:1"),
            None,
            r"^`tart clone ghcr.io/org/missing:1 .*404",
        ),
        (vm_job("a"), {"step": "clone", "kind": "fail_after"}, "^`tart clone .*"),
        (
            vm_job("a", resources=Resources(cpus=1)),
            None,
            r"^`tart set .*VM should have 2 CPU cores at minimum \(requested 1\)",
        ),
    ],
    ids=["list", "an image that no registry has", "a clone that was made", "too small"],
)
async def test_a_step_that_tart_refuses_has_its_words(
    runner: Runner, mac: Mac, job: ExecuteNode, fault: dict[str, Any] | None, sentence: str
) -> None:
    if fault:
        mac.fail(**fault)
    cause = await fails(runner, job, PhaseName.LAUNCH_GUEST)
    assert re.search(sentence, cause.message), cause.message
    assert_nothing_is_left(mac, runner.state)


@pytest.mark.parametrize(("step", "limit"), [("clone", "CLONE_SECS"), ("set", "LOOK_SECS")])
async def test_a_step_that_does_not_end_is_ended(
    runner: Runner, mac: Mac, monkeypatch: pytest.MonkeyPatch, step: Step, limit: str
) -> None:
    monkeypatch.setattr(f"jerichoci.runtime.tart.vm.{limit}", 1.0)
    mac.fail(step, "hang")
    job = vm_job("a", resources=Resources(cpus=3))
    cause = await fails(runner, job, PhaseName.LAUNCH_GUEST)
    assert cause.message.startswith(f"`tart {step} ")
    assert cause.message.endswith("did not end within 1 s")
    assert_nothing_is_left(mac, runner.state)


@pytest.mark.parametrize(("step", "kind"), [("run", "fail"), ("boot", "crash"), ("boot", "limit")])
async def test_a_vm_that_ends_while_it_starts_says_so(
    runner: Runner,
    mac: Mac,
    step: Step,
    kind: Kind,
) -> None:
    mac.fail(step, kind, times=None)
    cause = await fails(runner, vm_job("a"), PhaseName.LAUNCH_GUEST)
    assert f"VM {vm_name(runner.state)} ended while it started (exit code" in cause.message
    assert cause.hint
    assert cause.hint.startswith("see tart's output in the host log")
    if kind == "limit":
        log = runner.ended().log("a")
        assert "The number of VMs exceeds the system limit" in log
    assert_nothing_is_left(mac, runner.state)


async def test_a_vm_that_macos_has_no_place_for_yet_starts_a_moment_later(
    runner: Runner, mac: Mac
) -> None:
    mac.fail("boot", "limit", times=2)
    run = await runner.run(vm_job("a", QUICK))
    assert run.job("a").status is Status.PASSED, run.log("a")
    assert len(run.job("a").attempts) == 1
    assert_nothing_is_left(mac, runner.state)


@pytest.mark.parametrize(
    "fault",
    [
        {"step": "boot", "kind": "lose_agent"},
        {"step": "exec", "kind": "hang", "matching": " true$", "times": None},
        {"step": "exec", "kind": "hang", "matching": "bootstrap", "times": None},
        {"step": "exec", "kind": "fail", "matching": "bootstrap", "times": None, "code": 69},
        {"step": "exec", "kind": "fail", "matching": "bootstrap", "times": None, "code": 127},
    ],
)
async def test_a_vm_that_never_is_ready_is_removed_even_if_it_were_to_be_kept(
    runner: Runner, mac: Mac, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    for name, secs in (("READY_SECS", 1.0), ("PROBE_SECS", 0.5)):
        monkeypatch.setattr(f"jerichoci.runtime.tart.vm.{name}", secs)
    mac.fail(**fault)
    cause = await fails(runner, vm_job("a"), PhaseName.LAUNCH_GUEST, keep=KeepPolicy.ALWAYS)
    assert f"VM {vm_name(runner.state)} wasn't ready after 1 s: " in cause.message
    assert cause.hint == "has its base the Tart Guest Agent, and does it log in by itself?"
    assert_nothing_is_left(mac, runner.state)


async def test_a_guest_that_says_it_never_will_work_is_not_waited_for(
    runner: Runner, mac: Mac
) -> None:
    mac.add_base("bare", sudo=False)
    cause = await fails(runner, vm_job("a", base="bare"), PhaseName.LAUNCH_GUEST)
    assert "(exit code 71): bootstrap: the guest's user admin may not sudo" in cause.message
    assert cause.hint == "docs/tart.md lists what a base must have"
    assert len([call for call in mac.calls("exec") if "bootstrap" in call.line]) == 1
    assert_nothing_is_left(mac, runner.state)


@pytest.mark.parametrize(
    "faults",
    [
        [
            {"step": "run", "kind": "late", "secs": 0.5},
            {"step": "boot", "kind": "late", "secs": 0.8},
            {"step": "exec", "matching": " true$", "times": 3},
            {"step": "exec", "kind": "hang", "matching": "bootstrap"},
            {"step": "exec", "matching": "bootstrap", "times": 2, "code": 69},
            {"step": "exec", "matching": "bootstrap", "times": 2, "code": 127},
        ],
        [{"step": "exec", "kind": "fail_after", "matching": "bootstrap", "code": 1}],
    ],
    ids=["what is not there yet", "an answer that is lost"],
)
async def test_a_vm_that_is_slow_is_waited_for(
    runner: Runner, mac: Mac, monkeypatch: pytest.MonkeyPatch, faults: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr("jerichoci.runtime.tart.vm.PROBE_SECS", 1.0)
    for fault in faults:
        mac.fail(**fault)
    run = await runner.run(vm_job("a", QUICK), run_id=RUN_ID)
    assert run.job("a").status is Status.PASSED, run.log("a")
    assert said(runner.state) == "said\n"
    expected = sum(fault.get("times", 1) for fault in faults if fault["step"] == "exec") + 2
    assert len(mac.calls("exec")) >= expected
    assert_nothing_is_left(mac, runner.state)


async def test_another_try_may_go_well(runner: Runner, mac: Mac) -> None:
    mac.fail("exec", code=71, matching="bootstrap")
    mac.fail("clone", skip=1)
    job = vm_job("a", QUICK, retries=Retries(infrastructure=2))
    run = await runner.run(job, run_id=RUN_ID)
    assert run.job("a").status is Status.PASSED, run.log("a")
    assert [row.failure_kind for row in run.job("a").attempts][:2] == ["infrastructure"] * 2
    assert run.job("a").attempt == 3
    assert_nothing_is_left(mac, runner.state)


# During the job


@pytest.mark.parametrize("how", ["crash", "kill"])
async def test_a_vm_that_ends_in_the_middle_of_its_job_is_infrastructure(
    runner: Runner, mac: Mac, how: str
) -> None:
    job = vm_job("a", f"seq 1000; echo kept > $PIKACI_ARTIFACTS/kept; {until('never')}")
    running = asyncio.create_task(fails(runner, job, PhaseName.WAIT_FOR_COMPLETION))
    await asyncio.to_thread(wait_for, lambda: "\n1000\n" in said(runner.state))
    await asyncio.to_thread(getattr(mac, how), vm_name(runner.state))
    cause = await running
    assert "was switched off" in cause.message
    assert said(runner.state).splitlines() == [str(number) for number in range(1, 1001)]
    assert_nothing_is_left(mac, runner.state)


async def test_a_job_goes_on_without_its_guest_s_agent(runner: Runner, mac: Mac) -> None:
    job = vm_job("a", f"echo up; {until('go')}; echo over; exit 3")
    running = asyncio.create_task(runner.run(job, run_id=RUN_ID))
    await asyncio.to_thread(wait_for, lambda: said(runner.state))
    await asyncio.to_thread(mac.lose_agent, vm_name(runner.state))
    await asyncio.to_thread(let_go, runner.state.root, "a", RUN_ID)
    run = await running
    assert (run.job("a").failure_kind, run.job("a").exit_code) == ("test_failure", 3)
    assert said(runner.state) == "up\nover\n"
    assert_nothing_is_left(mac, runner.state)


async def test_a_job_that_can_not_be_told_to_end_is_ended(
    runner: Runner, mac: Mac, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GRACE_SECS", "STOP_MARGIN_SECS"):
        monkeypatch.setattr(f"jerichoci.runtime.job_guest.{name}", 0.3)

    def lose_agent() -> bool:
        wait_for(lambda: said(runner.state))
        mac.lose_agent(vm_name(runner.state))
        return True

    await cancel_when(lose_agent, runner, vm_job("a", f"echo up; {until('never')}"))
    assert_nothing_is_left(mac, runner.state)


# Afterwards


@pytest.mark.parametrize(
    "fault",
    [
        {"step": "stop"},
        {"step": "stop", "kind": "hang"},
        {"step": "stop", "kind": "fail", "times": None},
        {"step": "boot", "kind": "deaf"},
        {"step": "delete"},
        {"step": "delete", "kind": "hang"},
        {"step": "delete", "kind": "fail_after"},
    ],
)
async def test_a_clean_up_that_has_trouble_comes_to_its_end_and_changes_no_result(
    runner: Runner, mac: Mac, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    if fault.get("kind") == "hang":
        limit = {"stop": "LOOK_SECS", "delete": "DELETE_SECS"}[fault["step"]]
        monkeypatch.setattr(f"jerichoci.runtime.tart.command.{limit}", 3.0)
    mac.fail(**fault)
    run = await runner.run(vm_job("a", f"{QUICK}; exit 3"), run_id=RUN_ID)
    assert (run.job("a").failure_kind, run.job("a").exit_code) == ("test_failure", 3), run.log("a")
    assert [row.path for row in run.job("a").artifacts] == ["kept"]
    assert_nothing_is_left(mac, runner.state)


async def test_a_vm_that_can_not_be_deleted_is_left_to_the_next_reap_that_can(
    runner: Runner, mac: Mac, caplog: pytest.LogCaptureFixture
) -> None:
    mac.fail("delete", times=None)
    run = await runner.run(vm_job("a", QUICK), run_id=RUN_ID)
    assert run.job("a").status is Status.PASSED
    assert run.job("a").cause is None
    assert run.job("a").phases[-1].outcome is Outcome.FAILED
    assert "clean-up failed: `tart delete" in run.log("a")
    name = vm_name(runner.state)
    assert job_vms(mac) == {name: "stopped"}
    assert reap(runner.state).guests == ()
    assert f"could not remove VM {name}: " in caplog.text
    mac.heal()
    assert reap(runner.state).guests == (name,)
    assert_nothing_is_left(mac, runner.state)
