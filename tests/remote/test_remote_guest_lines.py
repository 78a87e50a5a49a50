"""The line to a host breaks, or its Incus is restarted, while a guest there is made or runs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from incus.guest_project import GuestRunner, ending
from plans import RUN_ID
from remote.far_guests import TALKS, FarGuests, guests_of_nowhere

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from incus.server import IncusServer
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost
    from runner import Runner

SHORT_SECS = 5.0
UNSEEN_SECS = 25.0
"""Longer than it takes to see that a line is down."""
LIMIT_SECS = 10


@pytest.fixture
def guests(
    runner: Runner, far_incus: IncusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> GuestRunner:
    return guests_of_nowhere(runner, far_incus, tmp_path, monkeypatch)


@pytest.fixture
def far(guests: GuestRunner, far_host: FarHost, hosts_config: WriteHosts) -> FarGuests:
    return FarGuests(guests, far_host, hosts_config).config()


@contextmanager
def cut(host: FarHost, secs: float) -> Iterator[None]:
    """A line that is cut for a while, which the block may make longer."""
    host.cut()
    try:
        yield
        time.sleep(secs)
    finally:
        host.join()


@pytest.mark.parametrize("secs", [SHORT_SECS, UNSEEN_SECS])
def test_a_job_goes_on_while_the_line_is_cut(far: FarGuests, secs: float) -> None:
    with far.running(far.job("a", TALKS)) as process:
        with cut(far.host, secs):
            far.let_go()
            wait_for((far.outbox() / "result.json").exists)
        process.wait(90)
    far.assert_it_ended_as_it_would_have()
    wait_for(lambda: not far.server.instances())


async def test_a_job_is_not_late_because_its_line_is_down(
    far: FarGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, secs in (("GRACE_SECS", 0.5), ("KILL_SECS", 0.5), ("HOST_MARGIN_SECS", 0.5)):
        monkeypatch.setattr(f"jerichoci.runtime.guest_wait.{name}", secs)
    running = asyncio.ensure_future(far.guests.run_here(far.job("a", TALKS, timeout_secs=3)))
    await asyncio.to_thread(far.wait_until_it_runs)
    far.host.cut()
    far.let_go()
    await asyncio.sleep(UNSEEN_SECS)
    far.host.join()
    await running
    far.assert_it_ended_as_it_would_have()


def test_a_connection_may_break_again_and_again(far: FarGuests) -> None:
    with far.running(far.job("a", TALKS)) as process:
        for _ in range(3):
            far.host.kill_sessions()
            time.sleep(1.0)
        far.let_go()
        process.wait(90)
    far.assert_it_ended_as_it_would_have()


def test_a_host_that_is_rebooted_takes_its_guests_along(far: FarGuests) -> None:
    with far.running(far.job("a", TALKS)) as process:
        far.host.reboot()
        process.wait(90)
    record = far.record()
    assert record["failure_kind"] == "infrastructure"
    assert f"{far.host.name} was rebooted" in record["cause"]["message"]
    assert [note["removal_requested"] for note in far.notes()] == [False]


@pytest.mark.parametrize("phase", ["prepare_runtime", "launch_guest", "collect_artifacts"])
def test_the_line_may_be_cut_in_each_phase(far: FarGuests, phase: str) -> None:
    with ending(far.guests.start(far.job("a", TALKS))) as process:
        freeing = threading.Thread(target=far.let_go)
        if phase == "collect_artifacts":
            freeing.start()
        wait_for(lambda: far.guests.state.run(RUN_ID).root.exists() and far.guests.begins(phase))
        with cut(far.host, UNSEEN_SECS):
            pass
        if phase != "collect_artifacts":
            freeing.start()
        process.wait(120)
        freeing.join()
    far.assert_it_ended_as_it_would_have()
    wait_for(lambda: not far.server.instances())


def test_a_line_that_stays_down_is_infrastructure_and_the_note_stays(far: FarGuests) -> None:
    far.config(line_limit_secs=LIMIT_SECS)
    with far.running(far.job("a", TALKS)) as process:
        far.host.cut()
        process.wait(90)
    record = far.record()
    assert (record["status"], record["failure_kind"]) == ("failed", "infrastructure")
    assert far.host.name in record["cause"]["message"]
    assert record["phases"][-1]["outcome"] == "failed"
    (note,) = far.notes()
    assert note["host"] == far.host.name
    assert note["socket"] == str(far.server.socket)
    assert not note["removal_requested"]
    assert far.server.instances() == [note["name"]]


def test_a_run_is_cancelled_while_the_line_is_down(far: FarGuests) -> None:
    with far.running(far.job("a", TALKS)) as process:
        far.host.cut()
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        process.wait(120)
    assert far.record()["status"] == "cancelled"
    (note,) = far.notes()
    assert not note["removal_requested"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_incus_there_may_be_restarted_while_the_job_runs(
    far: FarGuests, number: signal.Signals
) -> None:
    with far.running(far.job("a", TALKS)) as process:
        os.kill(far.server.pid, number)
        far.server._process.wait()  # type: ignore[union-attr]
        far.server._process = None
        far.let_go()
        far.server.start()
        process.wait(90)
    far.assert_it_ended_as_it_would_have()
    wait_for(lambda: not far.server.instances())


def test_incus_there_may_be_restarted_while_the_guest_is_made(far: FarGuests) -> None:
    with ending(far.guests.start(far.job("a", TALKS))) as process:
        freeing = threading.Thread(target=far.let_go)
        phase = "launch_guest"
        wait_for(lambda: far.guests.state.run(RUN_ID).root.exists() and far.guests.begins(phase))
        far.server.restart()
        freeing.start()
        process.wait(90)
        freeing.join()
    far.assert_it_ended_as_it_would_have()


async def test_an_incus_that_goes_away_is_told_of_by_its_host(
    far: FarGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.rest.RECONNECT_SECS", 2.0)
    running = asyncio.ensure_future(far.guests.run_here(far.job("a", TALKS)))
    await asyncio.to_thread(far.wait_until_it_runs)
    await asyncio.to_thread(far.server.stop)
    try:
        far.let_go()
        await running
    finally:
        await asyncio.to_thread(far.server.start)
    far.assert_it_ended_as_it_would_have()
    log = far.guests.state.run(RUN_ID).attempt("a", 1) / "host.log"
    assert f"Incus can't be reached on {far.host.name}" in log.read_text()
    assert [note["removal_requested"] for note in far.notes()] == [False]
