"""Connections that break, and are made anew or given up."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from jerichoci.nix.command import NixOptions
from jerichoci.plan.hosts import known_hosts_of_run, load_hosts
from jerichoci.plan.plan import Retries
from jerichoci.remote import attachment
from jerichoci.remote import session as sessions
from jerichoci.remote.host_notes import host_notes
from jerichoci.remote.program import far_program
from jerichoci.remote.session import Session
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.status import FailureKind, PhaseName, Status
from plans import RUN_ID, job
from remote.agent_alone import until
from remote.away import away
from remote.breaking import (
    COMMAND,
    PHASES,
    AtEnd,
    AtPhase,
    cable_cut_for,
    make_quick,
    nothing_is_left_on,
    went_on,
)
from remote.wire import Wire
from runner import Runner
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.state.layout import StateLayout
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost

SHORT_CUT_SECS = 3.0
CANCELLED_SECS = 60.0
BULK_BYTES = 30_000_000
ENDS = {PhaseName.COLLECT_ARTIFACTS, PhaseName.CLEANUP}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


async def test_a_run_goes_on_after_a_cut_in_every_phase(runner: Runner, host: FarHost) -> None:
    with cable_cut_for(host, SHORT_CUT_SECS) as cut:
        sinks = [AtPhase(phase, cut) for phase in PHASES]
        ended = await runner.run(away("job", COMMAND, host), sinks=sinks)
    assert all(sink.times == 1 for sink in sinks)
    went_on(ended, host)


@pytest.mark.parametrize("phase", PHASES)
async def test_a_run_ends_when_a_line_stays_cut_in_any_phase(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, phase: PhaseName
) -> None:
    hosts_config(far_host, line_limit_secs=1)
    sink = AtPhase(phase, far_host.cut)
    node = away("job", "echo row" if phase in ENDS else "sleep 600", far_host)
    ended = await runner.run(node, sinks=[sink])
    far_host.join()
    record = ended.job("job")
    if phase is PhaseName.CLEANUP:
        assert record.status is Status.PASSED
        assert ended.said("job") == ["row"]
    else:
        assert (record.status, record.failure_kind) == (Status.FAILED, FailureKind.INFRASTRUCTURE)
        assert f"the connection to {far_host.name} was down for" in str(record.message)
    nothing_is_left_on(far_host)


async def test_a_host_is_left_in_order_when_the_line_comes_back(
    runner: Runner, host: FarHost
) -> None:
    with cable_cut_for(host, SHORT_CUT_SECS) as cut:
        ended = await runner.run(away("job", "echo here", host), sinks=[AtEnd(cut)])
    assert ended.record.status is Status.PASSED
    assert list(host_notes(runner.state).all()) == []
    nothing_is_left_on(host)


async def test_what_could_not_be_left_in_order_is_noted(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host, line_limit_secs=1)
    ended = await runner.run(away("job", "echo here", far_host), sinks=[AtEnd(far_host.cut)])
    assert ended.record.status is Status.PASSED
    assert [note.host for note in host_notes(runner.state).all()] == [far_host.name]
    far_host.join()
    nothing_is_left_on(far_host)


async def test_a_job_runs_on_while_the_line_is_down_for_half_a_minute(
    runner: Runner, host: FarHost
) -> None:
    command = "for i in $(seq 200); do echo row $i; sleep 0.1; done"
    with cable_cut_for(host, 30.0) as cut:
        sink = AtPhase(PhaseName.WAIT_FOR_COMPLETION, cut)
        ended = await runner.run(away("job", command, host), sinks=[sink])
    assert ended.record.status is Status.PASSED, ended.log("job")
    assert ended.said("job") == [f"row {number}" for number in range(1, 201)]
    nothing_is_left_on(host)


async def test_when_the_line_is_back_a_job_has_timed_out_only_if_it_took_too_long(
    runner: Runner, host: FarHost
) -> None:
    nodes = [
        away("good", "sleep 2; echo done", host, timeout_secs=5),
        away("late", "echo begun; sleep 7; echo done", host, timeout_secs=5),
    ]
    with cable_cut_for(host, 9.0) as cut:
        # The other one begins in the same moment.
        sink = AtPhase(PhaseName.WAIT_FOR_COMPLETION, cut, "late")
        ended = await runner.run(*nodes, sinks=[sink])
    assert ended.job("good").status is Status.PASSED, ended.log("good")
    assert ended.said("good") == ["done"]
    assert ended.job("late").failure_kind is FailureKind.TIMEOUT
    assert ended.said("late")[:1] == ["begun"]
    nothing_is_left_on(host)


@pytest.mark.parametrize("stays_cut", [False, True])
async def test_a_snapshot_on_its_way_when_the_line_breaks_leaves_no_program_behind(
    layout: StateLayout,
    far_host: FarHost,
    hosts_config: WriteHosts,
    tmp_path: Path,
    stays_cut: bool,  # noqa: FBT001 - pytest gives it
) -> None:
    hosts_config(far_host, line_limit_secs=1 if stays_cut else 600)
    user = UserTree(tmp_path / "user")
    user.write("large", os.urandom(BULK_BYTES))
    runner = Runner(layout, (await take_snapshot(layout.root, user.root)).tree)
    with cable_cut_for(far_host, 600.0 if stays_cut else SHORT_CUT_SECS) as cut:
        sink = AtPhase(PhaseName.STAGE_WORKSPACE_SNAPSHOT, cut)
        ended = await runner.run(away("job", "wc -c < large", far_host), sinks=[sink])
    if stays_cut:
        assert ended.job("job").failure_kind is FailureKind.INFRASTRUCTURE
    else:
        assert ended.said("job") == [str(BULK_BYTES)], ended.log("job")
    nothing_is_left_on(far_host)


async def test_a_run_begins_when_the_line_comes_back(runner: Runner, host: FarHost) -> None:
    with cable_cut_for(host, SHORT_CUT_SECS) as cut:
        cut()
        ended = await runner.run(away("job", "echo here", host))
    assert ended.said("job") == ["here"]


async def test_a_login_that_takes_too_long_starts_no_agent(
    runner: Runner, host: FarHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachment, "BOOT_SECS", 2.0)
    # The agent's files are there, so that nothing else would keep it from being started.
    assert (await runner.run(away("job", "true", host))).record.status is Status.PASSED
    (host.home / ".bashrc").write_text("sleep 5\n")
    ended = await runner.run(away("job", "true", host))
    assert ended.job("job").failure_kind is FailureKind.INFRASTRUCTURE
    late = f"{host.name} did not start the agent within 2 s"
    assert ended.job("job").message == late
    await asyncio.sleep(5.0)
    nothing_is_left_on(host)


async def test_a_host_that_is_booted_meanwhile_is_told_apart_from_one_that_is_slow(
    runner: Runner, host: FarHost
) -> None:
    sink = AtPhase(PhaseName.WAIT_FOR_COMPLETION, host.reboot)
    ended = await runner.run(away("job", "sleep 60", host), sinks=[sink])
    assert ended.job("job").failure_kind is FailureKind.INFRASTRUCTURE
    assert ended.job("job").message == f"{host.name} was rebooted while it was used"


async def test_a_job_is_tried_again_on_a_host_that_was_lost(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host, line_limit_secs=3)
    with cable_cut_for(far_host, 8.0) as cut:
        sink = AtPhase(PhaseName.WAIT_FOR_COMPLETION, cut)
        node = away("job", "sleep 1; echo out", far_host, retries=Retries(infrastructure=5))
        ended = await runner.run(node, sinks=[sink])
    assert ended.record.status is Status.PASSED, ended.job("job")
    assert ended.said("job", ended.job("job").attempt) == ["out"]
    nothing_is_left_on(far_host)


@pytest.mark.parametrize("phase", PHASES)
async def test_a_run_that_is_cancelled_while_the_line_is_down_ends(
    runner: Runner, host: FarHost, monkeypatch: pytest.MonkeyPatch, phase: PhaseName
) -> None:
    monkeypatch.setattr(sessions, "HURRIED_SECS", 2.0)

    def cut_and_cancel() -> None:
        host.cut()
        runner.state.run(RUN_ID).cancel_request.touch()

    node = away("job", "true" if phase in ENDS else "sleep 600", host)
    sink = AtPhase(phase, cut_and_cancel)
    # Far less than the line is waited for otherwise.
    async with asyncio.timeout(CANCELLED_SECS):
        ended = await runner.run(node, sinks=[sink], run_id=RUN_ID)
    assert ended.record.status is Status.CANCELLED
    is_over = phase is PhaseName.CLEANUP
    assert ended.job("job").status is (Status.PASSED if is_over else Status.CANCELLED)


async def test_fail_fast_ends_jobs_that_cannot_be_told(runner: Runner, host: FarHost) -> None:
    sink = AtPhase(PhaseName.WAIT_FOR_COMPLETION, host.cut, "far")
    nodes = [away("far", "sleep 600", host), job("near", "sleep 3; exit 1")]
    ended = await runner.run(*nodes, sinks=[sink], fail_fast=True)
    assert ended.job("near").failure_kind is FailureKind.TEST_FAILURE
    assert ended.job("far").status is Status.CANCELLED


async def test_what_a_dead_connection_had_started_ends_when_another_takes_its_place(
    far_host: FarHost, hosts_config: WriteHosts, marker: str
) -> None:
    def is_there() -> bool:
        return any(marker in line for line in far_host.processes())

    with Wire(far_host.address, far_host.port) as wire:
        hosts_config(far_host, address=wire.address, port=wire.port)
        session = Session(known_hosts_of_run({}, load_hosts())[far_host.name], NixOptions())
        await session.open()
        async with far_program(session, ["sh", "-c", f"cat; : {marker}"], {}):
            await until(is_there)
            # Nobody tells the host that this way is dead; there is another one.
            wire.stall()
            hosts_config(far_host)
            session.host = known_hosts_of_run({}, load_hosts())[far_host.name]
            await until(lambda: session.breaks == 1 and session.is_up)
            await until(lambda: not is_there())
        await session.close()
    nothing_is_left_on(far_host)
