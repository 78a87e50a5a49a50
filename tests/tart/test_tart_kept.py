"""VMs that are kept for a look: which, how long, and the shells in them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from derivations import derive
from e2e.project import Done
from jerichoci.cleanup.gc import collect_garbage, reap
from jerichoci.plan.plan import Retries
from jerichoci.state.ledger import GuestNote, tart_guests
from jerichoci.state.retention import KEEP_SECS
from jerichoci.status import KeepPolicy, Outcome
from plans import RUN_ID, built, commanded
from runner import ORCHESTRATOR, Ended, Runner
from tart.left import assert_nothing_is_left, cancel_when, job_vms, said, vm_name
from tart_jobs import vm_job

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.state.layout import StateLayout
    from tart.mac import Mac

FAILS = """
  echo made > made; echo "$WORD" > "$PIKACI_ARTIFACTS/word"; mkdir -p deep/er; echo x > deep/er/y
  exit 3
"""
SHELL_SECS = 60.0


pytestmark = pytest.mark.usefixtures("base")


async def keep(runner: Runner, *, policy: KeepPolicy = KeepPolicy.ALWAYS, **job: Any) -> Ended:  # noqa: ANN401
    """Run a job that fails, with an input and variables, and keep its VM."""
    made = commanded("dep", "echo prepared > out")
    node = vm_job("a", FAILS, needs=["dep"], env={"WORD": "grün → 日本"}, **job)
    run = await runner.run(made, node, run_id=RUN_ID, keep=policy)
    assert run.job("a").exit_code == 3, run.log("a")
    return run


def shell(state: StateLayout, *command: str, stdin: str = "", attempt: int = 1) -> Done:
    """What `pikaci shell` does in the kept VM."""
    words = ["shell", RUN_ID, "a", f"--state-root={state.root}", f"--attempt={attempt}"]
    done = subprocess.run(
        [sys.executable, "-m", "pikaci", *words, *(("--", *command) if command else ())],
        env={**os.environ, "PYTHONPATH": str(ORCHESTRATOR)},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=SHELL_SECS,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def note_of(state: StateLayout) -> GuestNote:
    (note,) = tart_guests(state).all()
    return note


def end_time(state: StateLayout) -> None:
    """Have the time be over for which the VM is kept."""
    tart_guests(state).change(note_of(state), kept_until=time.time() - 1)


# Which are kept


async def test_of_two_vms_the_one_whose_job_failed_is_kept(runner: Runner, mac: Mac) -> None:
    jobs = vm_job("a", "exit 3"), vm_job("b")
    run = await runner.run(*jobs, run_id=RUN_ID, keep=KeepPolicy.ON_FAILURE)
    name = vm_name(runner.state)
    assert job_vms(mac) == {name: "stopped"}
    note = note_of(runner.state)
    until = run.job("a").execution["kept_until"]
    assert (note.name, note.kept_until) == (name, until)
    assert abs(until - time.time() - KEEP_SECS) < 600
    removals = [run.job(job).execution.get("removal") for job in ("a", "b")]
    assert removals == [None, "removed"]


async def test_each_attempt_keeps_its_own_vm(runner: Runner, mac: Mac) -> None:
    job = vm_job("a", "echo $RANDOM > made; exit 3", retries=Retries(test=1))
    await runner.run(job, run_id=RUN_ID, keep=KeepPolicy.ON_FAILURE)
    names = [vm_name(runner.state, attempt=number) for number in (1, 2)]
    assert job_vms(mac) == dict.fromkeys(names, "stopped")
    made = [
        (await asyncio.to_thread(shell, runner.state, "cat", "made", attempt=n)).out for n in (1, 2)
    ]
    assert made[0] != made[1]


async def test_a_cancelled_job_s_vm_is_kept_only_by_always(runner: Runner, mac: Mac) -> None:
    job = vm_job("a", "echo up; trap 'exit 1' TERM; while :; do sleep 0.05; done")
    await cancel_when(lambda: said(runner.state), runner, job, keep=KeepPolicy.ON_FAILURE)
    assert job_vms(mac) == {}
    assert list(tart_guests(runner.state).all()) == []


async def test_a_vm_that_hangs_is_kept_all_the_same(
    runner: Runner, mac: Mac, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.tart.vm.SYNC_SECS", 0.5)
    monkeypatch.setattr("jerichoci.runtime.tart.command.STOP_SECS", 1)
    mac.fail("exec", "hang", matching="sync")
    mac.fail("boot", "deaf")
    run = await keep(runner)
    assert {phase.outcome for phase in run.job("a").phases[-1:]} == {Outcome.PASSED}
    assert job_vms(mac) == {vm_name(runner.state): "stopped"}
    assert note_of(runner.state).is_kept()


async def test_a_vm_that_can_not_be_stopped_at_first_is_kept(runner: Runner, mac: Mac) -> None:
    mac.fail("stop")
    run = await keep(runner)
    assert any(call.argv[-1] == "/bin/sync" for call in mac.calls("exec"))
    assert run.job("a").execution["kept_until"] == note_of(runner.state).kept_until
    assert job_vms(mac) == {vm_name(runner.state): "stopped"}


# Shells


async def test_a_shell_is_where_the_job_was_with_all_it_had(runner: Runner, mac: Mac) -> None:
    await keep(runner)
    script = """
      id -un; pwd; cat made deep/er/y README "$PIKACI_INPUT_DEP/out"; echo "$WORD"
      cat "$PIKACI_ARTIFACTS/word" /artifacts/guest.log; echo more >> made; exit 7
    """
    done = await asyncio.to_thread(shell, runner.state, stdin=script)
    word = "grün → 日本"
    lines = ["admin", "/workspace/snapshot", "made", "x", "hello", "prepared", word, word]
    assert (done.code, done.out.splitlines(), done.err) == (7, lines, "")
    assert job_vms(mac) == {vm_name(runner.state): "stopped"}
    assert note_of(runner.state).is_kept()
    # What one shell changes is there for the next.
    done = await asyncio.to_thread(shell, runner.state, "cat", "made")
    assert done.passed().out == "made\nmore\n"


async def test_a_vm_of_a_job_that_was_late_has_a_shell_and_its_store(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.job_guest.GRACE_SECS", 0.3)
    scripts = {"dep": "echo from the dep > $out", "it": "echo $needed > $out"}
    made = built("it", derive(scripts, needs={"it": ["dep"]})["it"])
    job = vm_job("a", "echo half > made; sleep 600", needs=["it"], timeout_secs=1)
    await runner.run(made, job, run_id=RUN_ID, keep=KeepPolicy.ON_FAILURE)
    await collect_garbage(runner.state, 1, dry_run=False)
    script = 'cat made $(cat "$PIKACI_INPUT_IT")'
    done = await asyncio.to_thread(shell, runner.state, stdin=script)
    assert done.passed().out == "half\nfrom the dep\n"


async def test_root_s_job_has_root_s_shell_and_a_read_only_workspace_is_one(runner: Runner) -> None:
    job = vm_job("a", "exit 3", run_as_root=True, writable_workspace=False)
    await runner.run(job, run_id=RUN_ID, keep=KeepPolicy.ALWAYS)
    script = "id -u; cat README; touch new 2>/dev/null || echo refused"
    done = await asyncio.to_thread(shell, runner.state, stdin=script)
    assert done.passed().out == "0\nhello\nrefused\n"


async def test_there_is_no_shell_while_others_have_all_the_room(runner: Runner, mac: Mac) -> None:
    await keep(runner)
    for name in ("one", "two"):
        await asyncio.to_thread(mac.run_by_hand, name)
    done = await asyncio.to_thread(shell, runner.state, "true")
    assert "runs one and two already, and macOS no more than 2 VMs" in done.refused(75)
    assert "`tart stop NAME` stops one" in done.err
    assert note_of(runner.state).is_kept()


async def test_a_vm_that_does_not_boot_again_says_so_and_stays(runner: Runner, mac: Mac) -> None:
    await keep(runner)
    faults: tuple[dict[str, Any], ...] = ({"step": "run"}, {"step": "boot", "kind": "crash"})
    for fault in faults:
        mac.fail(**fault)
        done = await asyncio.to_thread(shell, runner.state, "true")
        assert "ended while it started" in done.refused(75), fault
        assert job_vms(mac) == {vm_name(runner.state): "stopped"}
    assert (await asyncio.to_thread(shell, runner.state, "cat", "made")).out == "made\n"


# How long


async def test_a_kept_vm_stays_until_its_time_is_over(runner: Runner, mac: Mac) -> None:
    await keep(runner)
    assert reap(runner.state).guests == ()
    assert await scratch_after_gc(runner, keep_runs=1)
    assert job_vms(mac) == {vm_name(runner.state): "stopped"}
    end_time(runner.state)
    done = await asyncio.to_thread(shell, runner.state, "true")
    assert "the VM of job a was kept until" in done.refused()
    assert len(mac.calls("run")) == 1
    assert reap(runner.state).guests == (vm_name(runner.state),)
    assert_nothing_is_left(mac, runner.state)


async def scratch_after_gc(runner: Runner, keep_runs: int) -> list[Path]:
    await collect_garbage(runner.state, keep_runs, dry_run=False)
    return list(runner.state.root.glob("runs/*/scratch/*"))
