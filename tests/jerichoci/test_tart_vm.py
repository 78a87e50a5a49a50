"""One VM, from its clone to its end, whatever tart and the guest make of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import HostUnavailableError, InfrastructureError
from jerichoci.machine.ending import Ending
from jerichoci.nix.command import NixOptions
from jerichoci.placement import LocalSettings
from jerichoci.placement.local import LocalPlacement
from jerichoci.placement.local_process import LocalProcess
from jerichoci.placement.program import Program
from jerichoci.plan.plan import Resources
from jerichoci.runtime.tart import vm as tart_vm
from jerichoci.runtime.tart.command import (
    LIST_TRIES,
    TartError,
    clone_argv,
    delete_argv,
    exec_argv,
    get_argv,
    list_argv,
    run_argv,
    set_argv,
    stop_argv,
)
from jerichoci.runtime.tart.vm import STOP_SECS, TartVm
from tart_answers import LIST_TRIPPED, described, listed, missing, stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from pytest_subprocess import FakeProcess

    from jerichoci.machine.process import Completed
    from jerichoci.state.layout import StateLayout

NAME = "pikaci.0123456789ab.20260131T235959Z-0123abcd.greet.1"
BASE = "sequoia"
SHARES = ["pikaci:/control:ro"]
TRUE = exec_argv(NAME, ["true"])
SYNC = exec_argv(NAME, ["/bin/sync"])
STOP = stop_argv(NAME, STOP_SECS)
BOOTSTRAP = ["/bin/bash", "/Volumes/My Shared Files/pikaci/bootstrap.sh"]
JOB = exec_argv(NAME, [*BOOTSTRAP, "job.json"])
NO_AGENT = (
    "Failed to connect to the VM using its control socket: is the Tart Guest Agent running?\n"
)
DEADLINE_SECS = 30
SOON_SECS = 0.2


class VmProcess(LocalProcess):
    """A `tart run`."""

    def __init__(self) -> None:
        self.over: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    async def wait(self) -> Ending:
        return await asyncio.shield(self.over)


class Mac(LocalPlacement):
    """A Mac whose tart answers as registered. `tart run` lives until the test ends it."""

    def __init__(self, layout: StateLayout) -> None:
        super().__init__(layout.root, NixOptions(), LocalSettings)
        self.host = "mac1"
        self.did: list[str] = []
        """The commands, in their order, and `killed` where a `tart run` was."""
        self.vms: list[VmProcess] = []
        self.short_lived = 0
        """So many of the next VMs end at once."""
        self.hangs: set[str] = set()
        self.is_cut_off = False
        self.spawned: Program | None = None

    async def run(
        self, argv: Sequence[str], *, deadline_secs: float, cwd: Path | None = None
    ) -> Completed:
        self.did.append(argv[1])
        if self.is_cut_off:
            raise HostUnavailableError("host mac1 was lost")
        if argv[1] in self.hangs:
            await asyncio.sleep(deadline_secs)
            raise InfrastructureError(f"`tart {argv[1]}` did not end within {deadline_secs:g} s")
        return await super().run(argv, deadline_secs=deadline_secs, cwd=cwd)

    @asynccontextmanager
    async def spawn(self, program: Program) -> AsyncIterator[VmProcess]:
        self.spawned = program
        self.did.append(program.argv[1])
        vm = VmProcess()
        self.vms.append(vm)
        if self.short_lived:
            self.short_lived -= 1
            vm.over.set_result(Ending(1))
        try:
            yield vm
        finally:
            self.did.append("killed")
            vm.over.cancel()


@pytest.fixture
def mac(layout: StateLayout, fp: FakeProcess, monkeypatch: pytest.MonkeyPatch) -> Mac:
    def refuse(leader: int, number: int) -> None:
        raise AssertionError(f"{leader}, the id of a process that isn't there, gets {number}")

    monkeypatch.setattr("jerichoci.machine.process.signal_group", refuse)
    polls = ("ROOM_POLL_SECS", "HELD_POLL_SECS", "BOOT_PAUSE_SECS")
    for pause in ("FIRST_PAUSE_SECS", "LAST_PAUSE_SECS", *polls):
        monkeypatch.setattr(tart_vm, pause, 0.01)
    monkeypatch.setattr(tart_vm, "PROBE_SECS", 0.02)
    fp.keep_last_process(keep=True)
    return Mac(layout)


@pytest.fixture
def vm(mac: Mac, tmp_path: Path) -> TartVm:
    return TartVm(mac, NAME, tmp_path / "host.log", tmp_path / "notes")


@pytest.fixture
async def booted(vm: TartVm, mac: Mac, fp: FakeProcess) -> TartVm:
    """A VM that answers."""
    fp.register(list_argv(), stdout=listed(NAME))
    fp.register(TRUE)
    await vm.boot(SHARES)
    mac.did.clear()
    fp.calls.clear()
    return vm


def calls(fp: FakeProcess) -> list[list[str]]:
    return [list(map(str, call)) for call in fp.calls]


def never_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tart_vm, "READY_SECS", SOON_SECS)


async def test_a_vm_is_cloned_and_given_what_its_job_asks_for(vm: TartVm, fp: FakeProcess) -> None:
    wanted = Resources(cpus=4, memory_mib=8192)
    change = set_argv(NAME, wanted)
    assert change is not None
    for argv in (clone_argv(BASE, NAME), change):
        fp.register(argv)
    fp.register(list_argv(), stdout=listed(BASE, f"{NAME}0"))
    await vm.make(BASE, wanted)
    assert calls(fp) == [list_argv(), clone_argv(BASE, NAME), change]


async def test_a_job_that_asks_for_nothing_has_what_the_base_has(
    vm: TartVm, fp: FakeProcess
) -> None:
    fp.register(list_argv(), stdout=listed(BASE))
    fp.register(clone_argv(BASE, NAME))
    await vm.make(BASE, Resources())
    assert calls(fp) == [list_argv(), clone_argv(BASE, NAME)]


@pytest.mark.parametrize("runs", [True, False])
async def test_a_vm_that_was_left_goes_before_its_name_is_used_again(
    vm: TartVm, fp: FakeProcess, *, runs: bool
) -> None:
    fp.register(list_argv(), stdout=listed(running=[NAME]) if runs else listed(NAME))
    fp.register(STOP, returncode=0 if runs else 2, stderr="" if runs else stopped(NAME))
    fp.register(delete_argv(NAME))
    fp.register(clone_argv(BASE, NAME))
    await vm.make(BASE, Resources())
    assert calls(fp) == [list_argv(), STOP, delete_argv(NAME), clone_argv(BASE, NAME)]


async def test_a_vm_that_was_left_and_stays_is_not_cloned_over(vm: TartVm, fp: FakeProcess) -> None:
    fp.register(list_argv(), stdout=listed(NAME))
    fp.register(STOP)
    fp.register(delete_argv(NAME), returncode=1, stderr="permission denied\n")
    with pytest.raises(TartError, match=r"`tart delete .*permission denied"):
        await vm.make(BASE, Resources())
    assert calls(fp)[-1] == delete_argv(NAME)


async def test_a_list_that_trips_over_a_vm_on_its_way_out_is_asked_for_again(
    vm: TartVm, fp: FakeProcess
) -> None:
    fp.register(list_argv(), returncode=1, stderr=LIST_TRIPPED, occurrences=2)
    fp.register(list_argv(), stdout=listed(BASE))
    assert not await vm.is_there()
    assert calls(fp) == [list_argv()] * 3


async def test_a_list_that_always_trips_is_told_of(vm: TartVm, fp: FakeProcess) -> None:
    fp.register(list_argv(), returncode=1, stderr=LIST_TRIPPED)
    with pytest.raises(TartError, match=r"`tart list .*there is no such file"):
        await vm.is_there()
    assert calls(fp) == [list_argv()] * LIST_TRIES


async def test_a_base_that_can_not_be_cloned_is_told_of(vm: TartVm, fp: FakeProcess) -> None:
    fp.register(list_argv(), stdout=listed())
    fp.register(clone_argv(BASE, NAME), returncode=2, stderr=missing(BASE))
    with pytest.raises(TartError, match=r'`tart clone .*: the specified VM "sequoia" does not'):
        await vm.make(BASE, Resources())


async def test_resources_that_a_vm_can_not_have_are_told_of(vm: TartVm, fp: FakeProcess) -> None:
    wanted = Resources(memory_mib=1)
    change = set_argv(NAME, wanted)
    assert change is not None
    fp.register(list_argv(), stdout=listed())
    fp.register(clone_argv(BASE, NAME))
    fp.register(change, returncode=1, stderr="VM should have 4294967296 bytes of memory at least\n")
    with pytest.raises(TartError, match=r"`tart set .*: VM should have 4294967296 bytes"):
        await vm.make(BASE, wanted)


async def test_the_vms_process_is_owned_and_what_it_says_is_logged(
    booted: TartVm, mac: Mac, tmp_path: Path
) -> None:
    assert mac.spawned == Program(
        run_argv(NAME, SHARES),
        cwd=mac.state_root,
        env=mac.environment,
        log=tmp_path / "host.log",
        notes=tmp_path / "notes",
    )
    await booted.close()
    assert mac.did == ["killed"]


async def test_a_vm_is_ready_when_its_agent_answers(vm: TartVm, mac: Mac, fp: FakeProcess) -> None:
    fp.register(list_argv(), stdout=listed(NAME))
    fp.register(TRUE, returncode=2, stderr=stopped(NAME))
    fp.register(TRUE, returncode=1, stderr=NO_AGENT)
    fp.register(TRUE)
    await vm.boot(SHARES)
    assert calls(fp) == [list_argv(), TRUE, TRUE, TRUE]
    assert mac.did == ["list", "run", "exec", "exec", "exec"]
    await vm.close()


async def test_an_agent_that_hangs_is_asked_again(vm: TartVm, mac: Mac, fp: FakeProcess) -> None:
    fp.register(list_argv(), stdout=listed(NAME))
    fp.register(TRUE)
    mac.hangs = {"exec"}
    booting = asyncio.create_task(vm.boot(SHARES))
    await asyncio.sleep(SOON_SECS)
    assert not booting.done()
    mac.hangs.clear()
    await asyncio.wait_for(booting, DEADLINE_SECS)
    await vm.close()


async def test_a_guest_without_an_agent_is_told_of_in_the_end(
    vm: TartVm, fp: FakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_ready(monkeypatch)
    fp.register(list_argv(), stdout=listed(NAME))
    fp.register(TRUE, returncode=1, stderr=NO_AGENT)
    with pytest.raises(InfrastructureError) as caught:
        await vm.boot(SHARES)
    assert caught.value.message == f"VM {NAME} wasn't ready after 0.2 s: {NO_AGENT.strip()}"
    hint = "has its base the Tart Guest Agent, and does it log in by itself?"
    assert caught.value.hint == hint
    await vm.close()


async def test_a_guest_whose_agent_only_hangs_is_told_of_in_the_end(
    vm: TartVm, mac: Mac, fp: FakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_ready(monkeypatch)
    fp.register(list_argv(), stdout=listed(NAME))
    mac.hangs = {"exec"}
    with pytest.raises(InfrastructureError, match=r"0\.2 s: `tart exec` did not end within 0\.02"):
        await vm.boot(SHARES)
    await vm.close()


async def test_a_vm_that_ends_while_it_starts_is_an_error(
    vm: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(list_argv(), stdout=listed(NAME), occurrences=9)
    fp.register(TRUE, returncode=2, stderr=stopped(NAME), occurrences=9)
    mac.short_lived = tart_vm.BOOT_TRIES
    with pytest.raises(InfrastructureError, match=r"ended while it started \(exit code 1\); .*log"):
        await vm.boot(SHARES)
    assert mac.did[-2:] == ["killed", "list"]
    assert len(mac.vms) == tart_vm.BOOT_TRIES


async def test_a_vm_that_macos_has_no_place_for_yet_starts_a_moment_later(
    vm: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(list_argv(), stdout=listed(NAME), occurrences=9)
    fp.register(TRUE, occurrences=9)
    mac.short_lived = 1
    mac.hangs = {"exec"}
    booting = asyncio.create_task(vm.boot(SHARES))
    await until(lambda: len(mac.vms) == 2)
    mac.hangs.clear()
    await asyncio.wait_for(booting, DEADLINE_SECS)
    await vm.close()


async def test_a_vm_for_which_others_left_no_room_waits_and_starts_again(
    vm: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(list_argv(), stdout=listed(running=["a"]))
    fp.register(list_argv(), stdout=listed(running=["a", "b"]), occurrences=3)
    fp.register(list_argv(), stdout=listed(running=["b"]))
    fp.register(get_argv("a"), stdout=described())
    fp.register(get_argv("b"), stdout=described())
    fp.register(TRUE)
    mac.short_lived = 1
    mac.hangs = {"exec"}
    booting = asyncio.create_task(vm.boot(SHARES))
    await until(lambda: len(mac.vms) == 2)
    assert mac.did.count("list") == 5
    mac.hangs.clear()
    await asyncio.wait_for(booting, DEADLINE_SECS)
    await vm.close()
    assert mac.did.count("killed") == 2


async def test_no_vm_starts_beside_two_others(vm: TartVm, mac: Mac, fp: FakeProcess) -> None:
    fp.register(list_argv(), stdout=listed(running=["a", "b"]), occurrences=5)
    fp.register(list_argv(), stdout=listed("a", running=["b"]))
    fp.register(get_argv("a"), stdout=described())
    fp.register(get_argv("b"), stdout=described())
    fp.register(TRUE)
    await vm.boot(SHARES)
    assert mac.did.count("list") == 6
    assert len(mac.vms) == 1
    await vm.close()


async def test_only_other_vms_with_macos_count(vm: TartVm, mac: Mac, fp: FakeProcess) -> None:
    fp.register(list_argv(), stdout=listed("off", running=["mac", "linux", "gone", NAME]))
    fp.register(get_argv("mac"), stdout=described())
    fp.register(get_argv("linux"), stdout=described("linux"))
    fp.register(get_argv("gone"), returncode=2, stderr=missing("gone"))
    fp.register(TRUE)
    await vm.boot(SHARES, room_secs=0)
    assert mac.did.count("get") == 3
    await vm.close()


@pytest.mark.parametrize("room_secs", [0.0, SOON_SECS])
async def test_who_has_the_room_is_told_in_the_end(
    vm: TartVm, mac: Mac, fp: FakeProcess, room_secs: float
) -> None:
    fp.register(list_argv(), stdout=listed(running=["a", "b"]))
    fp.register(get_argv("a"), stdout=described())
    fp.register(get_argv("b"), stdout=described())
    with pytest.raises(InfrastructureError) as caught:
        await vm.boot(SHARES, room_secs)
    assert caught.value.message == (
        "mac1 runs a and b already, and macOS no more than 2 VMs of itself"
    )
    assert caught.value.hint == "`tart stop NAME` stops one"
    assert mac.vms == []


async def test_a_host_that_is_lost_while_a_vm_starts_is_lost(
    vm: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(list_argv(), stdout=listed(NAME))
    mac.hangs = {"exec"}
    booting = asyncio.create_task(vm.boot(SHARES))
    await until(lambda: "exec" in mac.did)
    mac.is_cut_off = True
    with pytest.raises(HostUnavailableError):
        await asyncio.wait_for(booting, DEADLINE_SECS)
    await vm.close()


async def test_a_start_that_is_cancelled_leaves_a_vm_that_can_be_ended(
    vm: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(list_argv(), stdout=listed(NAME))
    mac.hangs = {"exec"}
    booting = asyncio.create_task(vm.boot(SHARES))
    await until(lambda: "exec" in mac.did)
    booting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await booting
    await vm.close()
    assert mac.did[-1] == "killed"


async def test_the_bootstrap_is_tried_until_the_guest_has_what_it_needs(
    booted: TartVm, fp: FakeProcess
) -> None:
    for exit_code, said in [
        (127, "bash: bootstrap.sh: No such file or directory"),
        (69, "bootstrap: /Volumes/My Shared Files/store isn't there yet"),
        (1, NO_AGENT),
        (2, stopped(NAME)),
        (0, ""),
    ]:
        fp.register(JOB, returncode=exit_code, stderr=said)
    await booted.begin("job.json")
    assert calls(fp) == [JOB] * 5
    await booted.close()


@pytest.mark.parametrize("exit_code", [71, 64, 137, 255])
async def test_what_never_will_be_ready_is_not_tried_again(
    booted: TartVm, fp: FakeProcess, exit_code: int
) -> None:
    fp.register(JOB, returncode=exit_code, stderr="bootstrap: the guest has no Python\n")
    with pytest.raises(InfrastructureError) as caught:
        await booted.begin("job.json")
    assert caught.value.message == (
        f"VM {NAME} can't run the job (exit code {exit_code}): bootstrap: the guest has no Python"
    )
    assert caught.value.hint == "docs/tart.md lists what a base must have"
    assert calls(fp) == [JOB]
    await booted.close()


async def test_what_is_not_ready_for_too_long_is_told_in_the_bootstraps_words(
    booted: TartVm, fp: FakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_ready(monkeypatch)
    fp.register(JOB, returncode=69, stderr="bootstrap: the store isn't there yet\n")
    with pytest.raises(InfrastructureError, match=r"after 0\.2 s: bootstrap: the store isn't"):
        await booted.begin("job.json")
    await booted.close()


async def test_a_vm_that_ends_before_its_job_begins_is_an_error(
    booted: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(JOB, returncode=69)
    beginning = asyncio.create_task(booted.begin("job.json"))
    await until(lambda: "exec" in mac.did)
    mac.vms[0].over.set_result(Ending(0))
    with pytest.raises(InfrastructureError, match=r"was switched off \(tart exited with 0\)"):
        await asyncio.wait_for(beginning, DEADLINE_SECS)
    await booted.close()


async def test_no_vm_is_asked_before_it_runs(vm: TartVm, mac: Mac) -> None:
    with pytest.raises(InfrastructureError, match="was not started"):
        await vm.begin("job.json")
    with pytest.raises(InfrastructureError, match="was not started"):
        await vm.ended()
    assert mac.did == []


def test_a_shell_hands_on_standard_input_and_a_terminal(vm: TartVm) -> None:
    argv = vm.bootstrap("shell.json", "--shell", flags=("-i", "-t"))
    assert argv == ["tart", "exec", "-i", "-t", NAME, *BOOTSTRAP, "shell.json", "--shell"]


async def test_a_guest_is_told_something(booted: TartVm, fp: FakeProcess) -> None:
    argv = exec_argv(NAME, [*BOOTSTRAP, "job.json", "--stop"])
    fp.register(argv, returncode=1)
    await booted.tell("job.json", "--stop")
    assert calls(fp) == [argv]
    await booted.close()


async def test_a_guest_that_does_not_listen_is_not_waited_for(booted: TartVm, mac: Mac) -> None:
    mac.hangs = {"exec"}
    await asyncio.wait_for(booted.tell("job.json", "--stop"), DEADLINE_SECS)
    await booted.close()


async def test_a_guest_that_is_gone_need_not_be_told(booted: TartVm, mac: Mac) -> None:
    mac.hangs = {"exec"}
    mac.vms[0].over.set_result(Ending(0))
    await asyncio.wait_for(booted.tell("job.json", "--stop"), DEADLINE_SECS)
    await booted.close()


async def test_the_end_of_a_vm_is_told_to_all_who_wait_for_it(booted: TartVm, mac: Mac) -> None:
    impatient, patient = (asyncio.create_task(booted.ended()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    mac.vms[0].over.set_result(Ending(0))
    assert await patient == "was switched off (tart exited with 0)"
    await booted.close()


async def test_a_vm_writes_its_disk_before_it_is_stopped(
    booted: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(SYNC)
    fp.register(STOP)
    await booted.halt()
    assert calls(fp) == [SYNC, STOP]
    assert mac.did == ["exec", "stop", "killed"]


async def test_a_disk_that_is_not_written_in_time_keeps_no_vm_running(
    booted: TartVm, mac: Mac, fp: FakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tart_vm, "SYNC_SECS", SOON_SECS)
    fp.register(STOP)
    mac.hangs = {"exec"}
    await asyncio.wait_for(booted.halt(), DEADLINE_SECS)
    assert mac.did == ["exec", "stop", "killed"]


async def test_a_vm_that_is_off_is_as_good_as_stopped(
    booted: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(STOP, returncode=2, stderr=stopped(NAME))
    mac.hangs = {"exec"}
    mac.vms[0].over.set_result(Ending(0))
    await asyncio.wait_for(booted.halt(), DEADLINE_SECS)
    assert mac.did[-2:] == ["stop", "killed"]


async def test_a_vm_that_never_answered_is_only_stopped(vm: TartVm, fp: FakeProcess) -> None:
    fp.register(STOP, returncode=2, stderr=stopped(NAME))
    await vm.halt()
    assert calls(fp) == [STOP]


async def test_a_vm_that_can_not_be_stopped_in_order_is_killed_and_told_of(
    booted: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(SYNC)
    fp.register(STOP, returncode=1, stderr="failed to forcefully terminate\n")
    with pytest.raises(TartError, match="failed to forcefully terminate"):
        await booted.halt()
    assert mac.did[-1] == "killed"


async def test_a_vm_is_stopped_and_deleted(booted: TartVm, mac: Mac, fp: FakeProcess) -> None:
    fp.register(STOP)
    fp.register(delete_argv(NAME))
    await booted.delete()
    assert calls(fp) == [STOP, delete_argv(NAME)]
    assert mac.did == ["stop", "killed", "delete"]


async def test_a_vm_that_is_gone_is_as_good_as_deleted(vm: TartVm, fp: FakeProcess) -> None:
    fp.register(STOP, returncode=2, stderr=missing(NAME))
    fp.register(delete_argv(NAME), returncode=2, stderr=missing(NAME))
    await vm.delete()


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_vm_that_does_not_stop_is_killed_and_deleted(
    booted: TartVm,
    mac: Mac,
    fp: FakeProcess,
    monkeypatch: pytest.MonkeyPatch,
    *,
    hangs: bool,
) -> None:
    monkeypatch.setattr(tart_vm, "LOOK_SECS", SOON_SECS - STOP_SECS)
    fp.register(STOP, returncode=1, stderr="failed to forcefully terminate\n")
    fp.register(delete_argv(NAME))
    mac.hangs = {"stop"} if hangs else set()
    await asyncio.wait_for(booted.delete(), DEADLINE_SECS)
    assert mac.did == ["stop", "killed", "delete"]


async def test_a_vm_whose_process_is_not_gone_yet_is_deleted_a_little_later(
    vm: TartVm, fp: FakeProcess
) -> None:
    fp.register(STOP)
    fp.register(delete_argv(NAME), returncode=1, stderr=f'VM "{NAME}" is running\n', occurrences=2)
    fp.register(delete_argv(NAME))
    await vm.delete()
    assert calls(fp) == [STOP, *[delete_argv(NAME)] * 3]


async def test_a_vm_that_stays_is_told_of(
    booted: TartVm, fp: FakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tart_vm, "HELD_SECS", SOON_SECS)
    fp.register(STOP)
    fp.register(delete_argv(NAME), returncode=1, stderr=f'VM "{NAME}" is running\n')
    with pytest.raises(TartError, match=r"`tart delete .* is running"):
        await booted.delete()


async def test_nothing_more_is_asked_of_a_host_that_is_lost(booted: TartVm, mac: Mac) -> None:
    mac.is_cut_off = True
    with pytest.raises(HostUnavailableError):
        await booted.delete()
    assert mac.did == ["stop", "killed"]


async def test_a_vm_may_be_left_twice(booted: TartVm, mac: Mac) -> None:
    await booted.close()
    await booted.close()
    assert mac.did == ["killed"]


async def test_a_vm_that_was_stopped_may_run_again(
    booted: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(SYNC)
    fp.register(STOP)
    await booted.halt()
    await booted.boot(SHARES)
    await booted.halt()
    assert mac.did == ["exec", "stop", "killed", "list", "run", "exec", "exec", "stop", "killed"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECS):
        while not condition():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.005)
