"""What a killed orchestrator left on its hosts goes, and nothing that anybody needs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from jerichoci.cleanup.remote import reap_hosts
from jerichoci.errors import UsageError
from jerichoci.plan.plan import Retries
from jerichoci.remote.agent.host_gc import KEPT
from jerichoci.remote.host_notes import host_notes
from jerichoci.remote.ssh.socket_directory import remove_stale_sockets, socket_directory
from jerichoci.status import FailureKind, KeepPolicy, Status
from plans import RUN_ID
from remote.away import away
from remote.leftovers import (
    assert_nothing_is_left,
    kill_agents,
    kill_orchestrator,
    names,
    pikaci,
    run_directory,
    running,
    runs_there,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.state.layout import StateLayout
    from remote.conftest import WriteHosts
    from remote.far_guests import FarGuests
    from remote.far_host import FarHost
    from runner import Runner

HOLDS = """
import sys
sys.path.insert(0, sys.argv[1])
from jerichoci.remote.ssh.socket_directory import socket_directory
with socket_directory() as made:
    print(made, flush=True)
    sys.stdin.read()
"""


def test_a_killed_run_s_processes_and_files_go(runner: Runner, host: FarHost, marker: str) -> None:
    kill_orchestrator(runner, host, marker)
    assert runs_there(host, marker)
    said = pikaci(runner.state, "reap")
    assert not runs_there(host, marker)
    assert_nothing_is_left(host, [runner.state])
    assert f"closed {RUN_ID}" in said.out
    assert f"{host.name}: ended session " in said.out
    assert f"{host.name}: removed run {RUN_ID}--" in said.out
    assert runner.ended().record.status is Status.FAILED
    assert pikaci(runner.state, "reap").err == "nothing to reap\n"


def test_they_go_as_well_when_the_agent_was_killed_too(
    runner: Runner, host: FarHost, marker: str
) -> None:
    kill_orchestrator(runner, host, marker)
    kill_agents(host)
    assert names(host.work_dir / "runs") != []
    pikaci(runner.state, "reap")
    assert_nothing_is_left(host, [runner.state])


def test_they_go_when_the_host_was_booted_since(runner: Runner, host: FarHost, marker: str) -> None:
    kill_orchestrator(runner, host, marker)
    host.reboot()
    pikaci(runner.state, "reap")
    assert_nothing_is_left(host, [runner.state])


def test_a_host_that_cant_be_reached_is_said_and_done_later(
    runner: Runner, two_far_hosts: list[FarHost], hosts_config: WriteHosts, marker: str
) -> None:
    lost, other = two_far_hosts
    hosts_config(lost, other)
    kill_orchestrator(runner, lost, marker)
    stale = other.work_dir / "runs" / "of-nobody"
    stale.mkdir(parents=True)
    lost.cut()
    said = pikaci(runner.state, "reap")
    (row,) = [line for line in said.err.splitlines() if lost.name in line]
    assert row.startswith(f"pikaci: could not clean up {lost.name}: ")
    assert not stale.exists()
    assert [note.host for note in host_notes(runner.state).all()] == [lost.name]
    lost.join()
    pikaci(runner.state, "reap")
    assert_nothing_is_left(lost, [runner.state])


async def test_what_a_run_left_on_a_host_that_was_lost_goes_when_it_is_back(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, marker: str
) -> None:
    hosts_config(far_host, line_limit_secs=2)
    command = f"bash -c 'exec -a {marker} sleep 600'"
    job = away("lost", command, far_host, retries=Retries(infrastructure=0))
    going = asyncio.create_task(runner.run(job))
    await asyncio.to_thread(wait_for, lambda: runs_there(far_host, marker))
    far_host.cut()
    ended = await going
    assert ended.job("lost").failure_kind is FailureKind.INFRASTRUCTURE
    far_host.join()
    assert runs_there(far_host, marker)
    pikaci(runner.state, "reap")
    assert not runs_there(far_host, marker)
    assert_nothing_is_left(far_host, [runner.state])


def test_a_run_that_lives_is_left_alone(
    runner: Runner, host: FarHost, marker: str, tmp_path: Path
) -> None:
    with running(runner, host, marker):
        pikaci(runner.state, "reap")
        stranger = runner.state.__class__(tmp_path / "stranger")
        stranger.make()
        pikaci(stranger, "reap")
        assert runs_there(host, marker)
        assert names(host.work_dir / "runs") == [run_directory(runner.state, host).name]
        assert len(list(host_notes(runner.state).all())) == 1
    pikaci(runner.state, "reap")
    assert_nothing_is_left(host, [runner.state])


def test_a_host_that_only_the_plan_describes_is_found(
    runner: Runner, host: FarHost, hosts_config: WriteHosts, marker: str
) -> None:
    kill_orchestrator(runner, host, marker)
    hosts_config()
    pikaci(runner.state, "reap")
    assert_nothing_is_left(host, [runner.state])


async def test_the_next_run_on_the_host_removes_it_meanwhile(
    runner: Runner, host: FarHost, marker: str
) -> None:
    kill_orchestrator(runner, host, marker)
    gone = run_directory(runner.state, host)
    ended = await runner.run(away("next", f"while [ -e {gone} ]; do sleep 0.1; done", host))
    assert ended.record.status is Status.PASSED
    assert not runs_there(host, marker)
    pikaci(runner.state, "reap")
    assert_nothing_is_left(host, [runner.state])


async def test_what_is_kept_stays_until_its_time_is_over(runner: Runner, host: FarHost) -> None:
    ended = await runner.run(away("kept", "touch here", host), keep=KeepPolicy.ALWAYS)
    there = run_directory(runner.state, host, ended.record.run_id)
    pikaci(runner.state, "reap")
    assert (there / KEPT).exists()
    assert [note.run_id for note in host_notes(runner.state).all()] == [ended.record.run_id]
    (there / KEPT).write_text("1.0")
    pikaci(runner.state, "reap")
    assert_nothing_is_left(host, [runner.state])


async def test_what_is_kept_goes_with_its_run(runner: Runner, host: FarHost) -> None:
    await runner.run(away("kept", "touch here", host), keep=KeepPolicy.ALWAYS)
    pikaci(runner.state, "gc", "--keep-runs=1")
    assert names(host.work_dir / "runs") != []
    pikaci(runner.state, "gc", "--keep-runs=0")
    assert_nothing_is_left(host, [runner.state])


async def test_only_the_hosts_that_are_named_are_asked(
    runner: Runner, two_far_hosts: list[FarHost], hosts_config: WriteHosts
) -> None:
    hosts_config(*two_far_hosts)
    stale = [host.work_dir / "runs" / "of-nobody" for host in two_far_hosts]
    for path in stale:
        path.mkdir(parents=True)
    pikaci(runner.state, "reap", "--no-hosts")
    assert [path.exists() for path in stale] == [True, True]
    pikaci(runner.state, "reap", f"--host={two_far_hosts[1].name}")
    assert [path.exists() for path in stale] == [True, False]
    with pytest.raises(AssertionError, match="unknown host `nowhere`"):
        pikaci(runner.state, "reap", "--host=nowhere")
    with pytest.raises(UsageError, match="unknown host `nowhere`"):
        await reap_hosts(runner.state, ["nowhere"])


# Guests


def kill_with_guest(far: FarGuests) -> None:
    with far.running(far.job("a", "sleep 600")) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert len(far.server.instances()) == 1


def assert_no_guest_is_left(far: FarGuests) -> None:
    far.assert_nothing_is_left()
    assert_nothing_is_left(far.host, [far.guests.state])


def test_a_guest_goes_that_only_its_label_tells_of(far: FarGuests) -> None:
    kill_with_guest(far)
    for note in (far.guests.state.root / "elsewhere" / "incus").iterdir():
        note.unlink()
    far.guests.pikaci("reap")
    assert_no_guest_is_left(far)


async def test_the_guest_of_a_host_that_was_lost_goes_when_it_is_back(far: FarGuests) -> None:
    job = far.config(line_limit_secs=2).job("a", "sleep 600", retries=Retries(infrastructure=0))
    going = asyncio.create_task(far.guests.run_here(job))
    await asyncio.to_thread(far.wait_until_it_runs)
    far.host.cut()
    ended = await going
    assert ended.job("a").failure_kind is FailureKind.INFRASTRUCTURE
    far.host.join()
    assert len(far.server.instances()) == 1
    far.guests.pikaci("reap")
    assert_no_guest_is_left(far)


def test_a_guest_stays_while_its_run_lives_and_goes_when_that_is_killed(far: FarGuests) -> None:
    with far.running(far.job("a", "sleep 600")) as process:
        far.guests.pikaci("reap")
        far.guests.pikaci("gc", "--keep-runs=0")
        (name,) = far.server.instances()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert far.server.instances() == [name]
    assert f"{far.host.name}: removed guest {name}" in far.guests.pikaci("reap")
    assert_no_guest_is_left(far)


async def test_a_kept_guest_goes_with_its_run(far: FarGuests) -> None:
    await far.guests.run_here(far.job("a", "exit 3"), keep=KeepPolicy.ON_FAILURE)
    far.guests.pikaci("reap")
    assert len(far.server.instances()) == 1
    assert far.run_directory.exists()
    far.guests.pikaci("gc", "--keep-runs=0")
    assert_no_guest_is_left(far)


async def test_a_kept_guest_goes_when_its_time_is_over(far: FarGuests) -> None:
    await far.guests.run_here(far.job("a", "exit 3"), keep=KeepPolicy.ON_FAILURE)
    (note,) = (far.guests.state.root / "elsewhere" / "incus").glob("*.json")
    note.write_text(json.dumps(json.loads(note.read_text()) | {"kept_until": 1.0}))
    (far.run_directory / KEPT).write_text("1.0")
    far.guests.pikaci("reap")
    assert_no_guest_is_left(far)


# Sockets


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where sockets are in this test, with a short path."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        monkeypatch.setenv("TMPDIR", directory)
        yield Path(directory) / f"pikaci-{os.getuid()}"


def test_the_sockets_of_a_killed_process_go(layout: StateLayout, temporary: Path) -> None:
    orchestrator = str(Path(__file__).parents[2] / "orchestrator")
    argv = [sys.executable, "-c", HOLDS, orchestrator]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, **pipes) as process:  # type: ignore[call-overload]  # as it has them
        made = Path(process.stdout.readline().decode().strip())
        assert made.parent == temporary
        with socket_directory() as mine:
            process.kill()
            process.wait(10)
            assert made.is_dir()
            pikaci(layout, "reap")
            assert list(temporary.iterdir()) == [mine]
    assert list(temporary.iterdir()) == []


def test_a_killed_orchestrator_s_sockets_go(far: FarGuests, temporary: Path) -> None:
    kill_with_guest(far)
    wait_for(lambda: list(temporary.iterdir()))
    far.guests.pikaci("reap")
    assert list(temporary.iterdir()) == []
    assert_no_guest_is_left(far)


def test_sockets_lie_elsewhere_where_the_path_would_be_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 20)))
    with socket_directory() as made:
        assert str(tmp_path) not in str(made)
    assert made.name not in remove_stale_sockets()
