"""Whatever happens to a run with VMs, `reap` leaves no VM of it, no note, process or file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from incus.guest_project import ending, let_go, until
from jerichoci.cleanup.dead_runs import close_dead_runs
from jerichoci.cleanup.gc import reap
from jerichoci.plan.plan import Resources
from jerichoci.status import PhaseName, Status
from plans import RUN_ID
from records import check_events
from runner import Runner, kill_owner
from tart.left import assert_nothing_is_left, has_begun, job_vms, said, vm_name
from tart_jobs import vm_job

if TYPE_CHECKING:
    from pathlib import Path

    from tart.mac import Mac

EVENTS = (1, 8, 10, 12, 14, 17)
"""After how many lines of events.jsonl to kill; a whole run has 18 or so."""
STEPS = ("clone", "set", "run", "exec", "stop", "delete")
"""While which call of tart."""
QUICK = "echo said; echo kept > $PIKACI_ARTIFACTS/kept"


pytestmark = pytest.mark.usefixtures("base")


def count(runner: Runner) -> int:
    events = runner.state.run(RUN_ID).events
    return events.read_bytes().count(b"\n") if events.exists() else 0


def assert_closed(runner: Runner) -> None:
    run = runner.ended()
    assert run.record.finished_at
    if run.record.status is not Status.PASSED:
        assert run.record.failure_kind == "infrastructure"
        assert run.record.cause
        assert run.record.cause.code == "owner_died"
    check_events(run.layout)


@pytest.mark.parametrize("when", [*EVENTS, *STEPS])
def test_a_run_killed_at_any_time_leaves_no_vm(runner: Runner, mac: Mac, when: int | str) -> None:
    with ending(runner.start(vm_job("a", QUICK, resources=Resources(cpus=2)))) as process:
        wait_for(
            lambda: (
                (mac.calls(when) if isinstance(when, str) else count(runner) >= when)
                or process.poll() is not None
            )
        )
        kill_owner(process, runner.state.run(RUN_ID))
    if when in EVENTS[::2]:
        close_dead_runs(runner.state)
    # A clone that a killed process began goes on without it.
    wait_for(lambda: not list((mac.home / "tmp").iterdir()))
    reap(runner.state)
    assert_closed(runner)
    assert_nothing_is_left(mac, runner.state)


def test_a_job_that_ignores_everything_ends_with_its_vm(runner: Runner, mac: Mac) -> None:
    command = "trap '' TERM INT HUP; setsid sleep 4711 & echo up; while :; do sleep 1; done"
    with ending(runner.start(vm_job("a", command))) as process:
        wait_for(lambda: "up" in said(runner.state))
        kill_owner(process, runner.state.run(RUN_ID))
    reap(runner.state)
    assert_closed(runner)
    assert_nothing_is_left(mac, runner.state)


def test_a_run_is_closed_even_if_tart_does_not_answer(
    runner: Runner, mac: Mac, caplog: pytest.LogCaptureFixture
) -> None:
    with ending(runner.start(vm_job("a", f"echo up; {until('never')}"))) as process:
        wait_for(lambda: said(runner.state))
        kill_owner(process, runner.state.run(RUN_ID))
    mac.fail("list", message="the database is locked", times=None)
    reaped = reap(runner.state)
    assert (reaped.runs, reaped.guests) == ((RUN_ID,), ())
    assert "the database is locked" in caplog.text
    assert_closed(runner)
    # Its process is gone, so that it takes no room.
    assert job_vms(mac) == {vm_name(runner.state): "stopped"}
    mac.heal()
    assert reap(runner.state).guests == (vm_name(runner.state),)
    assert_nothing_is_left(mac, runner.state)


def test_a_note_that_a_killed_process_has_half_written_goes(runner: Runner, mac: Mac) -> None:
    directory = runner.state.root / "elsewhere" / "tart"
    directory.mkdir(parents=True)
    (directory / "pikaci.a.json.tmp-4194305-0123abcd").write_text('{"name": ')
    (directory / "pikaci.broken.json").write_text('{"name": ')
    reap(runner.state)
    assert [path.name for path in directory.iterdir()] == ["pikaci.broken.json"]
    assert_nothing_is_left(mac, runner.state)


async def test_with_fail_fast_the_others_vms_go_at_once(runner: Runner, mac: Mac) -> None:
    fails = vm_job("a", f"{until('go')}; exit 3")
    other = vm_job("b", f"echo up; {until('never')}")
    running = asyncio.create_task(runner.run(fails, other, run_id=RUN_ID, fail_fast=True))
    await asyncio.to_thread(wait_for, lambda: said(runner.state, "b"))
    await asyncio.to_thread(let_go, runner.state.root, "a", RUN_ID)
    run = await running
    assert [run.job(name).status for name in ("a", "b")] == ["failed", "cancelled"]
    assert_nothing_is_left(mac, runner.state)


async def test_a_toolchain_that_is_long_in_coming_can_be_cancelled(
    runner: Runner, mac: Mac, tmp_path: Path
) -> None:
    rustc = mac.bin / "rustc"
    bins = tmp_path / "bin"
    bins.mkdir()
    (bins / "cargo").write_text("#!/bin/sh\n")
    (bins / "cargo").chmod(0o755)
    # The first call is the look before the run.
    text = f"#!/bin/sh\necho {tmp_path}\nmkdir {tmp_path}/first 2>/dev/null || exec sleep 600\n"
    rustc.write_text(text)
    rustc.chmod(0o755)
    job = vm_job("a", tart={"mount_host_toolchain": True})
    running = asyncio.create_task(runner.run(job, run_id=RUN_ID))
    cancel = runner.state.run(RUN_ID).cancel_request
    await asyncio.to_thread(wait_for, lambda: has_begun(runner.state, PhaseName.PREPARE_RUNTIME))
    cancel.touch()
    assert (await running).job("a").status is Status.CANCELLED
    assert mac.calls("clone") == []
    assert_nothing_is_left(mac, runner.state)


async def test_a_job_with_the_longest_id_has_a_vm(runner: Runner, mac: Mac) -> None:
    name = "j" * 64
    run = await runner.run(vm_job(name, QUICK), run_id=RUN_ID)
    assert run.job(name).status is Status.PASSED, run.log(name)
    assert_nothing_is_left(mac, runner.state)
