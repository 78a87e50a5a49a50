"""A Mac runs two macOS VMs at most, of all its users; jobs wait for their turn."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from incus.guest_project import let_go, until
from jerichoci.status import FailureKind, Status
from plans import RUN_ID
from tart.left import assert_nothing_is_left, cancel_when, counting_vms
from tart_jobs import BASE, vm_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner import Ended, Runner
    from tart.mac import Mac

AWHILE_SECS = 0.5
"""In which a VM would be there that must not be."""


@pytest.fixture(autouse=True)
def base(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    mac.add_base(BASE)
    monkeypatch.setattr("jerichoci.runtime.tart.vm.ROOM_POLL_SECS", 0.05)
    # However few CPUs these tests have: VMs are what is scarce.
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)))


def running(mac: Mac) -> list[str]:
    return [name for name, state in mac.vms().items() if state == "running"]


@contextlib.contextmanager
def others_run(mac: Mac, *names: str) -> Iterator[None]:
    for name in names:
        mac.run_by_hand(name)
    yield
    for name in names:
        mac.tart("stop", name, check=False)


def passed(run: Ended, *names: str) -> None:
    for name in names:
        assert run.job(name).status is Status.PASSED, run.log(name)


async def test_a_third_job_waits_for_one_of_two(runner: Runner, mac: Mac) -> None:
    names = ("a", "b", "c", "d")
    jobs = [vm_job(name, until("go")) for name in names]
    with counting_vms(mac) as seen:
        run = asyncio.create_task(runner.run(*jobs, run_id=RUN_ID))
        begun: list[str] = []
        for _ in names:
            await asyncio.to_thread(wait_for, lambda: set(running(mac)) - set(begun))
            await asyncio.sleep(AWHILE_SECS / 2)
            (name, *_) = sorted(set(running(mac)) - set(begun))
            begun.append(name)
            await asyncio.to_thread(let_go, runner.state.root, name.split(".")[3], RUN_ID)
        passed(await run, *names)
    assert max(seen) == 2
    assert_nothing_is_left(mac, runner.state)


async def test_a_run_of_another_state_root_waits_too(runner: Runner, mac: Mac) -> None:
    with others_run(mac, "pikaci.0123456789ab.20260101T000000Z-01234567.a.1", "theirs"):
        run = asyncio.create_task(runner.run(vm_job("a"), run_id=RUN_ID))
        await asyncio.to_thread(wait_for, lambda: mac.calls("clone"))
        await asyncio.sleep(AWHILE_SECS)
        assert mac.calls("run") == []
        await asyncio.to_thread(mac.tart, "stop", "theirs")
        passed(await run, "a")
    assert mac.vms()["pikaci.0123456789ab.20260101T000000Z-01234567.a.1"] == "stopped"


async def test_a_job_whose_turn_never_comes_says_who_has_the_room(
    runner: Runner, mac: Mac, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.tart.guest.ROOM_SECS", 0.2)
    with others_run(mac, "one", "two"):
        run = await runner.run(vm_job("a"))
        assert run.job("a").failure_kind is FailureKind.INFRASTRUCTURE
        cause = run.job("a").cause
        assert cause
        assert "runs one and two already, and macOS no more than 2 VMs of itself" in cause.message
        assert cause.hint == "`tart stop NAME` stops one"
        assert running(mac) == ["one", "two"]
        assert_nothing_is_left(mac, runner.state, theirs=["one", "two"])


async def test_a_job_whose_turn_never_comes_can_be_cancelled(runner: Runner, mac: Mac) -> None:
    with others_run(mac, "one", "two"):
        await cancel_when(
            lambda: any(call.argv[1] == "two" for call in mac.calls("get")), runner, vm_job("a")
        )
        assert_nothing_is_left(mac, runner.state, theirs=["one", "two"])


async def test_one_vm_of_somebody_s_leaves_room_for_one(runner: Runner, mac: Mac) -> None:
    with others_run(mac, "theirs"):
        names = ("a", "b")
        passed(await runner.run(*(vm_job(name, "sleep 0.2") for name in names)), *names)
        assert_nothing_is_left(mac, runner.state, theirs=["theirs"])


async def test_vms_that_are_not_mac_s_take_no_room(runner: Runner, mac: Mac) -> None:
    names = ("debian", "ubuntu")
    for name in names:
        mac.add_base(name, os="linux")
    with others_run(mac, *names):
        passed(await runner.run(vm_job("a")), "a")


async def test_a_vm_that_was_quicker_is_waited_for(runner: Runner, mac: Mac) -> None:
    # It starts between the look for room and the start.
    with others_run(mac, "one"):
        mac.fail("run", "late", secs=1.0)
        run = asyncio.create_task(runner.run(vm_job("a"), run_id=RUN_ID))
        await asyncio.to_thread(wait_for, lambda: mac.calls("run"))
        await asyncio.to_thread(mac.run_by_hand, "two")
        await asyncio.to_thread(wait_for, lambda: len(mac.calls("list")) > 4)
        await asyncio.to_thread(mac.tart, "stop", "two")
        passed(await run, "a")
        assert len(mac.calls("run")) == 2
        assert_nothing_is_left(mac, runner.state, theirs=["one"])
