"""The line to a host breaks, or its Incus is restarted, while a guest there is made or runs."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from jerichoci.remote import session
from jerichoci.status import PhaseName
from plans import RUN_ID
from remote.agent_alone import until
from remote.breaking import AtPhase, cable_cut_for, make_quick
from remote.far_guests import TALKS, FarGuests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runner import Ended

UNSEEN_SECS = 1.0
SEEN_SECS = 5.0
"""Longer than it takes to see that a line is down."""
ENDED_SECS = 120.0
PHASES = (PhaseName.PREPARE_RUNTIME, PhaseName.LAUNCH_GUEST, PhaseName.COLLECT_ARTIFACTS)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


@asynccontextmanager
async def running(far: FarGuests, **execute: int) -> AsyncIterator[asyncio.Task[Ended]]:
    """A run whose job is in its guest, and says more when it is let go; it ends with the block."""
    run = asyncio.create_task(far.guests.run_here(far.job("a", TALKS, **execute)))
    try:
        await until(lambda: (far.outbox() / "files").is_dir() or run.done())
        yield run
        async with asyncio.timeout(ENDED_SECS):
            await run
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


@pytest.mark.parametrize("secs", [UNSEEN_SECS, SEEN_SECS])
async def test_a_job_goes_on_while_the_line_is_cut(far: FarGuests, secs: float) -> None:
    async with running(far):
        far.host.cut()
        far.let_go()
        await until((far.outbox() / "result.json").exists)
        await asyncio.sleep(secs)
        far.host.join()
    far.assert_it_ended_as_it_would_have()
    wait_for(lambda: not far.server.instances())


async def test_a_job_is_not_late_because_its_line_is_down(
    far: FarGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, secs in (("GRACE_SECS", 0.5), ("KILL_SECS", 0.5), ("HOST_MARGIN_SECS", 0.5)):
        monkeypatch.setattr(f"jerichoci.runtime.job_guest.{name}", secs)
    async with running(far, timeout_secs=3):
        far.host.cut()
        far.let_go()
        await asyncio.sleep(3 + SEEN_SECS)
        far.host.join()
    far.assert_it_ended_as_it_would_have()


async def test_a_connection_may_break_again_and_again(far: FarGuests) -> None:
    async with running(far):
        for _ in range(3):
            far.host.kill_sessions()
            await asyncio.sleep(1.0)
        far.let_go()
    far.assert_it_ended_as_it_would_have()


async def test_a_host_that_is_rebooted_takes_its_guests_along(far: FarGuests) -> None:
    async with running(far):
        far.host.reboot()
    record = far.record()
    assert record["failure_kind"] == "infrastructure"
    assert f"{far.host.name} was rebooted" in record["cause"]["message"]
    assert [note["removal_requested"] for note in far.notes()] == [False]


async def test_the_line_may_be_cut_in_each_phase(far: FarGuests) -> None:
    with cable_cut_for(far.host, SEEN_SECS) as cut:
        sinks = [AtPhase(phase, cut) for phase in PHASES]
        run = asyncio.create_task(far.guests.run_here(far.job("a", TALKS), sinks=sinks))
        await asyncio.to_thread(far.let_go)
        await run
    assert [sink.times for sink in sinks] == [1] * len(PHASES)
    far.assert_it_ended_as_it_would_have()
    wait_for(lambda: not far.server.instances())


async def test_a_line_that_stays_down_is_infrastructure_and_the_note_stays(far: FarGuests) -> None:
    far.config(line_limit_secs=2)
    async with running(far):
        far.host.cut()
    record = far.record()
    assert (record["status"], record["failure_kind"]) == ("failed", "infrastructure")
    assert far.host.name in record["cause"]["message"]
    assert record["phases"][-1]["outcome"] == "failed"
    (note,) = far.notes()
    assert note["host"] == far.host.name
    assert note["socket"] == str(far.server.socket)
    assert not note["removal_requested"]
    assert far.server.instances() == [note["name"]]


async def test_a_run_is_cancelled_while_the_line_is_down(
    far: FarGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "HURRIED_SECS", 2.0)
    async with running(far):
        far.host.cut()
        far.guests.state.run(RUN_ID).cancel_request.touch()
    assert far.record()["status"] == "cancelled"
    (note,) = far.notes()
    assert not note["removal_requested"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_incus_there_may_be_restarted_while_the_job_runs(
    far: FarGuests, number: signal.Signals
) -> None:
    async with running(far):
        os.kill(far.server.pid, number)
        await asyncio.to_thread(far.server._process.wait)  # type: ignore[union-attr]
        far.server._process = None
        far.let_go()
        await asyncio.to_thread(far.server.start)
    far.assert_it_ended_as_it_would_have()
    wait_for(lambda: not far.server.instances())


async def test_incus_there_may_be_restarted_while_the_guest_is_made(far: FarGuests) -> None:
    run = asyncio.create_task(far.guests.run_here(far.job("a", TALKS)))
    await until(lambda: far.guests.begins(PhaseName.LAUNCH_GUEST))
    await asyncio.to_thread(far.server.restart)
    await asyncio.to_thread(far.let_go)
    await run
    far.assert_it_ended_as_it_would_have()


async def test_an_incus_that_goes_away_is_told_of_by_its_host(
    far: FarGuests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.rest.RECONNECT_SECS", 2.0)
    async with running(far) as run:
        await asyncio.to_thread(far.server.stop)
        try:
            far.let_go()
            await run
        finally:
            await asyncio.to_thread(far.server.start)
    far.assert_it_ended_as_it_would_have()
    log = far.guests.state.run(RUN_ID).attempt("a", 1) / "host.log"
    assert f"Incus can't be reached on {far.host.name}" in log.read_text()
    assert [note["removal_requested"] for note in far.notes()] == [False]
