"""VMs that are not needed any more are removed, and no others."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from jerichoci.cleanup import guests
from jerichoci.errors import InfrastructureError
from jerichoci.machine.process import Completed
from jerichoci.runtime.reaper import reap as reap_at
from jerichoci.runtime.tart.command import (
    STOP_SECS,
    TartError,
    delete_argv,
    list_argv,
    stop_argv,
)
from jerichoci.runtime.tart.name import SHELL_LOCK, VmName
from jerichoci.runtime.tart.reaper import TartPlace
from jerichoci.state.ids import owner_part
from jerichoci.state.ledger import GuestNote, noted_guests, tart_guests
from jerichoci.state.lock import try_lock
from jerichoci.state.owner import owning
from plans import RUN_ID
from records import dead, writing
from tart_answers import LIST_TRIPPED, listed, missing, stopped

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_subprocess import FakeProcess

    from jerichoci.runtime.tart.command import Run
    from jerichoci.state.layout import StateLayout

LATER_RUN = "20260201T000000Z-00000000"
OTHER_OWNER = "ba9876543210"
PAST = 1.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jerichoci.runtime.tart.command.HELD_SECS", 0.1)
    monkeypatch.setattr("jerichoci.runtime.tart.command.HELD_POLL_SECS", 0.01)


@dataclass
class Tart:
    """A host's tart, for a reaper to call. Whether each VM runs is its value."""

    vms: dict[str, bool] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)
    """VMs that can't be deleted."""
    deaf: set[str] = field(default_factory=set)
    """VMs that can't be stopped."""
    asked: list[list[str]] = field(default_factory=list)

    async def __call__(self, argv: Sequence[str], deadline_secs: float) -> Completed:
        assert deadline_secs > 0
        self.asked.append(list(argv))
        exit_code, stdout, stderr = self._answer(argv[1], argv[2])
        return Completed(tuple(argv), exit_code, stdout.encode(), stderr.encode())

    def _answer(self, verb: str, name: str) -> tuple[int, str, str]:
        if verb == "list":
            running = [name for name, runs in self.vms.items() if runs]
            return 0, listed(*(self.vms.keys() - set(running)), running=running), ""
        if name not in self.vms:
            return 2, "", missing(name)
        if verb == "stop" and name in self.deaf:
            return 1, "", f'failed to forcefully terminate the VM "{name}": EPERM\n'
        if verb == "stop" and not self.vms[name]:
            return 2, "", stopped(name)
        if verb == "stop":
            self.vms[name] = False
        elif name in self.stuck or self.vms[name]:
            return 1, "", f'VM "{name}" is running\n'
        else:
            del self.vms[name]
        return 0, "", ""


@pytest.fixture
def tart() -> Tart:
    return Tart()


def reap(
    layout: StateLayout, tart: Run, host: str | None = None, removed: Collection[str] = ()
) -> list[str]:
    return asyncio.run(reap_at(TartPlace(layout, tart, host), removed=removed))


def remove(layout: StateLayout, tart: Tart) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guests, "_tart", lambda state: TartPlace(state, tart))
        guests.remove_kept_guests(layout, RUN_ID)


def vm(layout: StateLayout, job_id: str = "greet", run_id: str = RUN_ID) -> str:
    return str(VmName(owner_part(layout.owner_id()), run_id, job_id, 1))


def note(
    layout: StateLayout, name: str, kept_until: float | None = None, host: str | None = None
) -> None:
    _, _, run_id, job_id, _ = name.split(".")
    said = GuestNote(name=name, run_id=run_id, job_id=job_id, kept_until=kept_until, host=host)
    tart_guests(layout).write(said)


def noted(layout: StateLayout) -> list[str]:
    return [said.name for said in tart_guests(layout).all()]


def tomorrow() -> float:
    return time.time() + 24 * 3600


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("has_note", [True, False])
def test_the_vm_of_a_dead_run_is_removed_with_its_note(
    layout: StateLayout, tart: Tart, *, has_note: bool, runs: bool
) -> None:
    dead(layout)
    tart.vms = {vm(layout): runs}
    if has_note:
        note(layout, vm(layout))
    assert reap(layout, tart) == [vm(layout)]
    assert tart.vms == {}
    assert noted(layout) == []


def test_the_vm_of_a_run_that_goes_on_stays(layout: StateLayout, tart: Tart) -> None:
    tart.vms = {vm(layout): True, vm(layout, "other"): False}
    note(layout, vm(layout))
    with writing(layout):
        assert reap(layout, tart) == []
    assert len(tart.vms) == 2
    assert noted(layout) == [vm(layout)]
    assert tart.asked == [list_argv()]


def test_a_vm_that_is_kept_stays_until_its_time(layout: StateLayout, tart: Tart) -> None:
    dead(layout)
    kept, over = vm(layout, "kept"), vm(layout, "over")
    tart.vms = {kept: False, over: False}
    note(layout, kept, tomorrow())
    note(layout, over, PAST)
    assert reap(layout, tart) == [over]
    assert list(tart.vms) == noted(layout) == [kept]


@pytest.mark.parametrize("has_shell", [True, False])
def test_a_kept_vm_that_a_killed_shell_left_running_is_switched_off(
    layout: StateLayout, tart: Tart, *, has_shell: bool
) -> None:
    run = dead(layout)
    tart.vms = {vm(layout): True}
    note(layout, vm(layout), tomorrow())
    lock = run.attempt("greet", 1) / SHELL_LOCK
    lock.parent.mkdir(parents=True)
    with try_lock(lock) if has_shell else nullcontext():
        assert reap(layout, tart) == []
    assert tart.vms == {vm(layout): has_shell}


def test_a_note_is_swept_only_if_it_is_half_written(layout: StateLayout) -> None:
    kept = vm(layout, "tmp-1")
    note(layout, kept, tomorrow())
    (tart_guests(layout).directory / f"{kept}.json.tmp-4194305-0123abcd").write_text('{"name": ')
    tart_guests(layout).sweep()
    assert [path.stem for path in tart_guests(layout).directory.iterdir()] == [kept]


def test_a_kept_vm_of_a_run_that_goes_on_goes_when_its_time_is_over(
    layout: StateLayout, tart: Tart
) -> None:
    tart.vms = {vm(layout): False}
    note(layout, vm(layout), PAST)
    with writing(layout) as writer:
        writer.layout.scratch.mkdir(exist_ok=True)
        assert reap(layout, tart) == [vm(layout)]
        assert writer.layout.scratch.exists()


def test_a_run_that_is_removed_keeps_nothing(layout: StateLayout, tart: Tart) -> None:
    later = vm(layout, run_id=LATER_RUN)
    tart.vms = {vm(layout): False, later: False}
    for name in tart.vms:
        note(layout, name, tomorrow())
    assert reap(layout, tart, removed={RUN_ID}) == [vm(layout)]
    assert list(tart.vms) == noted(layout) == [later]


def test_the_vms_of_others_are_left_alone(layout: StateLayout, tart: Tart) -> None:
    theirs = [
        "sequoia",
        "ghcr.io/cirruslabs/macos-sequoia-base:latest",
        "pikaci",
        f"pikaci.{OTHER_OWNER}.{RUN_ID}.greet.1",
        f"{vm(layout)}.copy",
        f"{vm(layout)[:-1]}01",
        f"my-{vm(layout)}",
    ]
    tart.vms = dict.fromkeys(theirs, True)
    assert reap(layout, tart) == []
    assert list(tart.vms) == theirs
    assert tart.asked == [list_argv()]


def test_what_tart_can_not_do_at_once_is_asked_for_again(
    layout: StateLayout, fp: FakeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.tart.command.HELD_SECS", 30.0)
    name = vm(layout)
    note(layout, name)
    fp.register(list_argv(), returncode=1, stderr=LIST_TRIPPED)
    fp.register(list_argv(), stdout=listed(running=[name]))
    fp.register(stop_argv(name, STOP_SECS))
    fp.register(delete_argv(name), returncode=1, stderr=f'VM "{name}" is running\n', occurrences=2)
    fp.register(delete_argv(name))
    guests.reap_dead_guests(layout)
    assert noted(layout) == []
    stopping = stop_argv(name, STOP_SECS)
    assert list(fp.calls) == [*[list_argv()] * 2, stopping, *[delete_argv(name)] * 3]


@pytest.mark.parametrize("trouble", ["stuck", "deaf"])
def test_a_vm_that_can_not_be_removed_is_named_and_the_others_are_removed(
    layout: StateLayout, tart: Tart, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    stuck, *others = [vm(layout, job_id) for job_id in ("a", "b", "c")]
    tart.vms = dict.fromkeys([others[0], stuck, others[1]], True)
    for name in tart.vms:
        note(layout, name)
    getattr(tart, trouble).add(stuck)
    assert sorted(reap(layout, tart)) == others
    assert list(tart.vms) == noted(layout) == [stuck]
    said = r"could not remove VM \S+: `tart (stop|delete) .*` failed \(exit code 1\): .*VM"
    assert re.match(said, caplog.messages[0])
    assert len(caplog.messages) == 1
    tart.stuck.clear()
    tart.deaf.clear()
    assert reap(layout, tart) == [stuck]
    assert noted(layout) == []


def test_a_vm_that_was_deleted_meanwhile_is_gone(layout: StateLayout) -> None:
    tart = Tart({vm(layout): False})

    async def run(argv: Sequence[str], deadline_secs: float) -> Completed:
        done = await tart(argv, deadline_secs)
        tart.vms.clear()
        return done

    assert reap(layout, run) == [vm(layout)]


def test_the_note_of_a_vm_that_is_gone_is_forgotten(layout: StateLayout, tart: Tart) -> None:
    dead(layout)
    note(layout, vm(layout, "ran"))
    note(layout, vm(layout, "kept"), tomorrow())
    assert reap(layout, tart) == []
    assert noted(layout) == []


def test_a_note_is_not_forgotten_whose_run_has_yet_to_clone(
    layout: StateLayout, tart: Tart
) -> None:
    note(layout, vm(layout))
    with writing(layout):
        reap(layout, tart)
    assert noted(layout) == [vm(layout)]
    reap(layout, tart)
    assert noted(layout) == []


def test_of_a_host_only_its_own_notes_count(layout: StateLayout, tart: Tart) -> None:
    dead(layout)
    here, there, elsewhere = (vm(layout, job_id) for job_id in ("here", "there", "elsewhere"))
    note(layout, here)
    note(layout, there, host="mac1")
    note(layout, elsewhere, host="mac2")
    reap(layout, tart, "mac1")
    assert set(noted(layout)) == {here, elsewhere}
    reap(layout, tart)
    assert noted(layout) == [elsewhere]


@pytest.mark.parametrize(("noted_at", "asked_as"), [("mac1", None), (None, "mac1")])
def test_a_kept_vm_stays_on_a_host_that_is_known_by_two_names(
    layout: StateLayout, tart: Tart, noted_at: str | None, asked_as: str | None
) -> None:
    tart.vms = {vm(layout): False}
    note(layout, vm(layout), tomorrow(), host=noted_at)
    assert reap(layout, tart, asked_as) == []
    assert list(tart.vms) == noted(layout) == [vm(layout)]


def test_removing_a_run_deletes_what_it_kept_and_nothing_else(
    layout: StateLayout, tart: Tart
) -> None:
    later = vm(layout, run_id=LATER_RUN)
    tart.vms = {vm(layout, "a"): False, vm(layout, "b"): True, later: False}
    for name in tart.vms:
        note(layout, name, tomorrow())
    remove(layout, tart)
    assert list(tart.vms) == noted(layout) == [later]
    note(layout, vm(layout), tomorrow())  # of a VM that is gone
    note(layout, vm(layout, "there"), tomorrow(), host="mac1")
    remove(layout, tart)
    assert set(noted(layout)) == {later, vm(layout, "there")}


def test_a_run_whose_vm_can_not_be_deleted_is_not_removed(layout: StateLayout, tart: Tart) -> None:
    tart.vms = {vm(layout): False}
    tart.stuck = {vm(layout)}
    note(layout, vm(layout), tomorrow())
    with pytest.raises(TartError, match=r"`tart delete .*` failed"):
        remove(layout, tart)
    assert noted(layout) == [vm(layout)]


@pytest.fixture
def no_tart(monkeypatch: pytest.MonkeyPatch, layout: StateLayout) -> None:
    monkeypatch.setenv("PATH", str(layout.root / "nothing"))


@pytest.mark.usefixtures("no_tart")
def test_where_tart_is_missing_a_sentence_says_so_and_notes_stay(layout: StateLayout) -> None:
    dead(layout)
    note(layout, vm(layout))
    with pytest.raises(InfrastructureError, match=r"^tart can't be started: .*on PATH") as caught:
        asyncio.run(reap_at(TartPlace(layout)))
    assert caught.value.hint == "is it installed and on PATH?"
    assert noted(layout) == [vm(layout)]


@pytest.mark.usefixtures("no_tart")
def test_a_state_root_without_vms_needs_no_tart(layout: StateLayout) -> None:
    guests.reap_dead_guests(layout)
    guests.remove_kept_guests(layout, RUN_ID)
    assert guests.reap_all_guests(layout) == []


@pytest.mark.usefixtures("no_tart")
def test_notes_of_other_hosts_need_no_tart_here(layout: StateLayout) -> None:
    note(layout, vm(layout), host="mac1")
    guests.reap_dead_guests(layout)
    guests.remove_kept_guests(layout, RUN_ID)
    assert guests.reap_all_guests(layout) == []
    assert [said.name for said in noted_guests(layout)] == [vm(layout)]


def test_a_run_directory_that_is_just_made_owns_its_vms(layout: StateLayout, tart: Tart) -> None:
    run = layout.run(RUN_ID).root
    run.mkdir()
    tart.vms = {vm(layout): True}
    with owning(run):
        assert reap(layout, tart) == []
    assert reap(layout, tart) == [vm(layout)]
