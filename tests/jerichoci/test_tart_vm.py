"""What one VM does that no job of `tests/tart` meets: odd answers of tart, and a lost host."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from jerichoci.errors import HostUnavailableError, InfrastructureError
from jerichoci.machine.confined_job import ConfinedJob
from jerichoci.machine.ending import Ending
from jerichoci.nix.command import NixOptions
from jerichoci.placement import LocalSettings
from jerichoci.placement.local import LocalPlacement
from jerichoci.placement.local_process import LocalProcess
from jerichoci.plan.plan import Resources
from jerichoci.runtime.tart import vm as tart_vm
from jerichoci.runtime.tart.command import (
    LIST_TRIES,
    STOP_SECS,
    TartError,
    delete_argv,
    exec_argv,
    get_argv,
    list_argv,
    stop_argv,
)
from jerichoci.runtime.tart.vm import TartVm
from tart_answers import LIST_TRIPPED, described, listed, missing, stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from pytest_subprocess import FakeProcess

    from jerichoci.machine.process import Completed
    from jerichoci.placement.program import Program
    from jerichoci.state.layout import StateLayout

NAME = "pikaci.0123456789ab.20260131T235959Z-0123abcd.greet.1"
TRUE = exec_argv(NAME, ["true"])
STOP = stop_argv(NAME, STOP_SECS)
DELETE = delete_argv(NAME)
DEADLINE_SECS = 30


class VmProcess(LocalProcess):
    """A `tart run`, which lives until the test ends it."""

    def __init__(self) -> None:
        self.over: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    async def wait(self) -> Ending:
        return await asyncio.shield(self.over)


class Mac(LocalPlacement):
    """A Mac whose tart answers as registered."""

    def __init__(self, layout: StateLayout) -> None:
        super().__init__(layout.root, NixOptions(), LocalSettings)
        self.did: list[str] = []
        """The commands in their order, and `killed` where a `tart run` was."""
        self.vm: VmProcess | None = None
        self.hangs = ""
        """The command that does not end."""
        self.is_cut_off = False

    async def run(
        self, argv: Sequence[str], *, deadline_secs: float, cwd: Path | None = None
    ) -> Completed:
        self.did.append(argv[1])
        if self.is_cut_off:
            raise HostUnavailableError("host mac1 was lost")
        if argv[1] == self.hangs:
            await asyncio.sleep(deadline_secs)
            raise InfrastructureError(f"`tart {argv[1]}` did not end within {deadline_secs:g} s")
        return await super().run(argv, deadline_secs=deadline_secs, cwd=cwd)

    @asynccontextmanager
    async def spawn(self, program: Program) -> AsyncIterator[VmProcess]:
        assert not isinstance(program.argv, ConfinedJob)
        self.did.append(program.argv[1])
        self.vm = VmProcess()
        try:
            yield self.vm
        finally:
            self.did.append("killed")
            self.vm.over.cancel()

    def switch_off(self) -> None:
        assert self.vm is not None
        self.vm.over.set_result(Ending(0))


@pytest.fixture
def mac(layout: StateLayout, fp: FakeProcess, monkeypatch: pytest.MonkeyPatch) -> Mac:
    # The ids of faked processes may be those of others.
    monkeypatch.setattr("jerichoci.machine.process.signal_group", lambda *_: pytest.fail("killed"))
    for pause in ("FIRST_PAUSE_SECS", "LAST_PAUSE_SECS"):
        monkeypatch.setattr(tart_vm, pause, 0.01)
    monkeypatch.setattr("jerichoci.runtime.tart.command.HELD_POLL_SECS", 0.01)
    monkeypatch.setattr(tart_vm, "PROBE_SECS", 0.02)
    fp.keep_last_process(keep=True)
    fp.register(TRUE)
    return Mac(layout)


@pytest.fixture
def vm(mac: Mac, tmp_path: Path) -> TartVm:
    return TartVm(mac, NAME, tmp_path / "host.log", tmp_path / "notes")


@pytest.fixture
async def booted(vm: TartVm, mac: Mac, fp: FakeProcess) -> TartVm:
    """A VM that answers."""
    fp.register(list_argv(), stdout=listed(NAME))
    await vm.boot([], room_secs=0)
    mac.did.clear()
    return vm


async def until_asked(mac: Mac) -> None:
    await asyncio.to_thread(wait_for, lambda: "exec" in mac.did)


async def test_a_vm_that_was_left_and_can_not_be_deleted_is_not_cloned_over(
    vm: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(list_argv(), stdout=listed(NAME))
    fp.register(STOP)
    fp.register(DELETE, returncode=1, stderr="permission denied\n")
    with pytest.raises(TartError, match=r"`tart delete .*permission denied"):
        await vm.make("sequoia", Resources())
    assert mac.did == ["list", "stop", "delete"]


async def test_a_list_that_fails_over_a_vm_that_is_being_deleted_is_asked_for_again(
    vm: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(list_argv(), returncode=1, stderr=LIST_TRIPPED, occurrences=2)
    fp.register(list_argv(), stdout=listed())
    fp.register(list_argv(), returncode=1, stderr=LIST_TRIPPED)
    assert not await vm.is_there()
    assert len(mac.did) == 3
    with pytest.raises(TartError, match=r"`tart list .*there is no such file"):
        await vm.is_there()
    assert len(mac.did) == 3 + LIST_TRIES


async def test_a_vm_that_is_gone_when_it_is_looked_at_takes_no_room(
    vm: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(list_argv(), stdout=listed(running=["mac", "gone"]))
    fp.register(get_argv("mac"), stdout=described())
    fp.register(get_argv("gone"), returncode=2, stderr=missing("gone"))
    await vm.boot([], room_secs=0)
    assert mac.did == ["list", "get", "get", "run", "exec"]
    await vm.close()


async def test_a_host_that_is_lost_while_a_vm_starts_is_lost(
    vm: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(list_argv(), stdout=listed(NAME))
    mac.hangs = "exec"
    booting = asyncio.create_task(vm.boot([], room_secs=0))
    await until_asked(mac)
    mac.is_cut_off = True
    with pytest.raises(HostUnavailableError):
        await asyncio.wait_for(booting, DEADLINE_SECS)
    mac.did.clear()
    with pytest.raises(HostUnavailableError):
        await vm.delete()
    assert mac.did == ["stop", "killed"]


async def test_a_vm_that_ends_before_its_job_begins_is_an_error(booted: TartVm, mac: Mac) -> None:
    mac.hangs = "exec"
    beginning = asyncio.create_task(booted.begin("job.json"))
    await until_asked(mac)
    mac.switch_off()
    with pytest.raises(InfrastructureError, match=r"was switched off \(tart exited with 0\)"):
        await asyncio.wait_for(beginning, DEADLINE_SECS)
    await booted.close()


async def test_a_vm_that_is_off_is_told_nothing_and_is_as_good_as_stopped(
    booted: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(STOP, returncode=2, stderr=stopped(NAME))
    mac.hangs = "exec"
    mac.switch_off()
    await asyncio.wait_for(booted.tell("job.json", "--stop"), DEADLINE_SECS)
    await asyncio.wait_for(booted.halt(), DEADLINE_SECS)
    assert mac.did[-2:] == ["stop", "killed"]


async def test_a_vm_whose_process_is_not_gone_yet_is_deleted_a_little_later(
    vm: TartVm, mac: Mac, fp: FakeProcess
) -> None:
    fp.register(STOP)
    fp.register(DELETE, returncode=1, stderr=f'VM "{NAME}" is running\n', occurrences=2)
    fp.register(DELETE)
    await vm.delete()
    assert mac.did == ["stop", *["delete"] * 3]
