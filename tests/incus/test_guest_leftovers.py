"""Whatever happens to a run, the next command or `pikaci reap` leaves no guest of it, no note,
mount, lease or scratch directory.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from disk import mounted
from e2e.project import finish, wait_for
from incus.guest_project import (
    GuestRunner,
    assert_nothing_is_left,
    ending,
    guest_job,
    make_guests,
    make_project,
    mounts_of,
    started,
    until,
)
from incus.guest_proxy import Fate, Proxy
from jerichoci.runtime.incus.api import EXPIRY_LABEL
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.state.ledger import incus_guests
from jerichoci.status import FailureKind, KeepPolicy, Status
from plans import RUN_ID
from runner import Ended, Runner, kill_owner
from usertree import UserTree

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from incus.conftest import MakePool
    from incus.server import IncusServer
    from jerichoci.record.record import Cause

EVENTS = (1, 6, 8, 10, 12, 14, 17)
"""After how many lines of events.jsonl to kill; a whole run has 19."""
REQUESTS = (
    "POST instances",
    "GET operations/.*/wait",
    "POST instances/.*/exec",
    "PUT instances/.*/state",
)
QUICK = "echo said; echo kept > $PIKACI_ARTIFACTS/kept"
FAILS = """
  fails.jobs.it = {
    runtime = "incus"; incus.role = "runner"; needs = [ "dep" ]; command = "echo said; exit 3";
    timeoutSecs = 60;
  };
  fails.prepare.dep.drv = build "dep" "echo dep > $out";
"""


def kill(guests: GuestRunner, process: subprocess.Popen[bytes]) -> None:
    """Kill what runs the run, and have the run closed."""
    kill_owner(process, guests.state.run(RUN_ID))
    guests.reap()
    record = guests.record()
    assert record["finished_at"]
    if record["status"] != "passed":
        assert record["failure_kind"] == "infrastructure"
        assert record["cause"]["code"] == "owner_died"


@pytest.mark.parametrize("count", EVENTS)
def test_a_run_killed_after_some_events_leaves_no_guest(guests: GuestRunner, count: int) -> None:
    with ending(guests.start(guest_job("a", QUICK))) as process:
        wait_for(
            lambda: (
                guests.state.run(RUN_ID).root.exists()
                and (len(guests.events()) >= count or process.poll() is not None)
            )
        )
        kill(guests, process)
    assert_nothing_is_left(guests.server, guests.state.root, departing=True)
    guests.reap()
    assert_nothing_is_left(guests.server, guests.state.root)


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_run_killed_while_it_asks_incus_leaves_no_guest(
    told_guests: GuestRunner, proxy: Proxy, request_: str
) -> None:
    with ending(told_guests.at(proxy.path).start(guest_job("a", QUICK))) as process:
        wait_for(lambda: proxy.count(request_))
        kill(told_guests, process)
    assert_nothing_is_left(told_guests.server, told_guests.state.root)


def test_a_killed_run_whose_guest_is_still_being_made_leaves_none(
    guests: GuestRunner, proxy: Proxy, make_pool: MakePool
) -> None:
    # Seconds pass until this one has unpacked the image, and a command comes before that.
    slow = guests.site(pool=make_pool("slow"))
    with ending(slow.at(proxy.path).start(guest_job("a", QUICK))) as process:
        wait_for(lambda: proxy.count("POST instances"))
        kill_owner(process, guests.state.run(RUN_ID))
    slow.pikaci("reap")
    assert_nothing_is_left(guests.server, guests.state.root)


def test_a_killed_run_with_a_job_that_never_ends_leaves_no_guest(guests: GuestRunner) -> None:
    job = guest_job("a", f"trap '' TERM; {until('never')}", timeout_secs=3600)
    with ending(guests.start(job)) as process:
        wait_for(lambda: guests.begins("wait_for_completion"))
        # The guest of a run that lives is kept.
        guests.reap()
        assert len(guests.server.instances()) == 1
        kill(guests, process)
    assert_nothing_is_left(guests.server, guests.state.root)


def test_a_note_that_a_killed_process_has_half_written_goes(guests: GuestRunner) -> None:
    directory = guests.state.root / "elsewhere" / "incus"
    directory.mkdir(parents=True)
    mine = f"pikaci-b.json.tmp-{os.getpid()}-0123abcd"
    for name in ("pikaci-a.json.tmp-4194305-0123abcd", mine):
        (directory / name).write_text('{"name": ')
    guests.reap()
    assert [path.name for path in directory.iterdir()] == [mine]


def not_launched(guests: GuestRunner, ended: Ended) -> Cause:
    """Why a guest was not made, of which nothing is left."""
    cause = ended.job("a").cause
    assert cause
    assert cause.phase == "launch_guest"
    assert ended.job("a").failure_kind is FailureKind.INFRASTRUCTURE
    assert_nothing_is_left(guests.server, guests.state.root)
    return cause


async def test_a_guest_for_which_the_pool_has_no_room_leaves_nothing(
    guests: GuestRunner, incus_server: IncusServer
) -> None:
    incus_server.incus("storage", "create", "tiny", "btrfs", "size=120MiB")
    try:
        ended = await guests.site(pool="tiny").run_here(guest_job("a"))
    finally:
        incus_server.incus("storage", "delete", "tiny")
    message = not_launched(guests, ended).message.lower()
    assert "no space left" in message or "out of disk space" in message


async def test_a_guest_that_can_not_be_started_fails_with_the_reason_of_lxc_and_leaves_nothing(
    guests: GuestRunner, incus_server: IncusServer
) -> None:
    incus = incus_server.incus
    incus("profile", "create", "broken")
    incus("profile", "device", "add", "broken", "root", "disk", "path=/", "pool=pikaci")
    incus("profile", "set", "broken", "raw.lxc=lxc.mount.entry = /missing mnt none bind 0 0")
    try:
        ended = await guests.site(profile="broken").run_here(guest_job("a"))
    finally:
        incus("profile", "delete", "broken")
    assert "Failed to mount" in not_launched(guests, ended).message


@pytest.mark.parametrize("request_", ["PUT instances/.*/state", "POST instances/.*/exec"])
def test_a_guest_whose_job_or_removal_is_refused_goes_with_the_next_command(
    told_guests: GuestRunner, proxy: Proxy, request_: str
) -> None:
    proxy.doom(request_, Fate.REFUSED, times=4)
    record = told_guests.at(proxy.path).run(guest_job("a", QUICK))
    assert record["status"] == "passed"
    if request_.startswith("PUT"):
        assert record["phases"][-1]["outcome"] == "failed"
        assert len(told_guests.server.instances()) == 1
    told_guests.reap()
    assert_nothing_is_left(told_guests.server, told_guests.state.root)


def test_a_guest_goes_whose_incus_was_away_when_its_run_was_closed(
    guests: GuestRunner, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INCUS_SOCKET", str(proxy.path))
    with ending(guests.at(proxy.path).start(guest_job("a", until("go")))) as process:
        wait_for(lambda: guests.begins("wait_for_completion"))
        proxy.doom("(PUT|GET) instances/.*", Fate.REFUSED, times=10000)
        kill(guests, process)
    assert len(guests.server.instances()) == 1
    proxy.dooms.clear()
    guests.reap()
    assert_nothing_is_left(guests.server, guests.state.root)


async def test_artifacts_for_which_the_host_has_no_room_leave_no_guest(
    incus_server: IncusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jerichoci.state.layout import StateLayout

    with mounted(tmp_path / "disk", "64m") as disk:
        disk.chmod(0o711)
        state = StateLayout(disk / "state")
        state.make()
        user = UserTree(tmp_path / "user")
        user.write("README", "hello\n")
        tree = (await take_snapshot(state.root, user.root)).tree
        guests = make_guests(Runner(state, tree), incus_server, tmp_path, monkeypatch)
        job = guest_job("a", "head -c 40M /dev/urandom > $PIKACI_ARTIFACTS/large", timeout_secs=30)
        ended = await guests.run_here(job)
        assert ended.record.failure_kind is FailureKind.INFRASTRUCTURE
        guests.reap()
        assert_nothing_is_left(incus_server, state.root)


def test_a_kept_guest_goes_when_its_time_is_over(incus_server: IncusServer, tmp_path: Path) -> None:
    project = make_project(tmp_path, incus_server, FAILS)
    finish(project.start("run", "fails", "--keep", "on-failure"))
    (name,) = incus_server.instances()
    (note,) = guest_notes_of(project.state)
    assert note["kept_until"] > time.time() + 3600
    label = incus_server.incus("config", "get", name, EXPIRY_LABEL)
    assert int(label) == round(note["kept_until"])
    lease = list(project.state.glob("runs/*/scratch/*/view"))
    assert len(lease) == 1

    project.pikaci("reap").passed()
    project.pikaci("gc", "--keep-runs=1").passed()
    assert incus_server.instances() == [name]
    assert list(project.state.glob("runs/*/scratch/*/view")) == lease

    path = project.state / "elsewhere" / "incus" / f"{name}.json"
    path.write_text(json.dumps({**note, "kept_until": time.time() - 1}))
    assert name in project.pikaci("reap").passed().out
    assert_nothing_is_left(incus_server, project.state)


def test_a_kept_guest_goes_with_its_run_or_is_known_by_its_label_where_its_note_is_gone(
    incus_server: IncusServer, tmp_path: Path
) -> None:
    project = make_project(tmp_path, incus_server, FAILS)
    finish(project.start("run", "fails", "--keep", "on-failure"))
    (name,) = incus_server.instances()
    (project.state / "elsewhere" / "incus" / f"{name}.json").unlink()
    project.pikaci("reap").passed()
    assert incus_server.instances() == [name]
    incus_server.incus("config", "set", name, f"{EXPIRY_LABEL}=1")
    project.pikaci("reap").passed()
    assert incus_server.instances() == []

    finish(project.start("run", "fails", "--keep", "on-failure"))
    assert len(incus_server.instances()) == 1
    project.pikaci("gc", "--keep-runs=0").passed()
    assert project.run_ids() == []
    assert_nothing_is_left(incus_server, project.state)


async def test_what_passed_is_not_kept_on_failure(guests: GuestRunner) -> None:
    ended = await guests.run_here(
        guest_job("a", QUICK), keep=KeepPolicy.ON_FAILURE, wait_removal=True
    )
    assert ended.record.status is Status.PASSED
    assert guests.server.instances() == []
    assert not list(incus_guests(guests.state).all())
    assert mounts_of(guests.server, guests.state.root) == []


def test_guests_of_another_state_root_stay(
    guests: GuestRunner, incus_server: IncusServer, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    project = make_project(tmp_path / "other", incus_server, FAILS)
    with started(project, "run", "fails", "--keep", "on-failure") as running:
        finish(running)
    guests.run(guest_job("a", QUICK))
    guests.reap()
    assert len(incus_server.instances()) == 1
    assert_nothing_is_left(incus_server, guests.state.root, instances=incus_server.instances())


def guest_notes_of(state: Path) -> list[dict[str, float]]:
    return [
        json.loads(path.read_bytes()) for path in (state / "elsewhere" / "incus").glob("*.json")
    ]
