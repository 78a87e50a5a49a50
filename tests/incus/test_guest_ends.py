"""How jobs in guests end that don't end by themselves: cancelled, late, hanging, shut down."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from e2e.project import finish, wait_for
from incus.guest_project import (
    GuestRunner,
    assert_nothing_is_left,
    ending,
    guest_job,
    make_project,
    started,
    until,
    until_logged,
)
from jerichoci.plan.plan import ExecuteNode, Retries
from jerichoci.state.ledger import incus_guests
from jerichoci.status import FailureKind, PhaseName
from plans import RUN_ID

if TYPE_CHECKING:
    from pathlib import Path

    from incus.guest_proxy import Proxy
    from incus.server import IncusServer
    from runner import Ended

REQUESTS = ("GET storage-pools/.*", "POST instances", "GET operations/.*/wait", "POST .*/exec")
LINES = 5000
HEAD = f"seq {LINES}; "
"""What a job says before it hangs."""


@pytest.fixture
def hasty(guests: GuestRunner, monkeypatch: pytest.MonkeyPatch) -> GuestRunner:
    """Hosts wait for a second, instead of a minute, longer than the guests' runners."""
    for name, secs in (("GRACE_SECS", 0.5), ("KILL_SECS", 0.5), ("HOST_MARGIN_SECS", 1.0)):
        monkeypatch.setattr(f"jerichoci.runtime.job_guest.{name}", secs)
    monkeypatch.setattr("jerichoci.runtime.incus.guest.LOOK_SECS", 0.1)
    return guests


def assert_departs(guests: GuestRunner) -> None:
    assert_nothing_is_left(guests.server, guests.state.root, departing=True)
    guests.reap()
    assert_nothing_is_left(guests.server, guests.state.root)


async def late(guests: GuestRunner, job: ExecuteNode) -> Ended:
    """A run of a job that is over its time: its log is complete, nothing of its guest is left."""
    ended = await guests.run_here(job, wait_removal=True)
    assert ended.job("a").failure_kind is FailureKind.TIMEOUT
    assert_log_is_complete(ended)
    assert_nothing_is_left(guests.server, guests.state.root)
    return ended


def assert_log_is_complete(ended: Ended) -> None:
    log = (ended.layout.attempt("a", 1) / "guest.log").read_text()
    assert log.splitlines()[:LINES] == [str(number) for number in range(1, LINES + 1)]


# Cancelled


@pytest.mark.parametrize(
    "phase",
    # Requests, and a job that is cancelled, below, are in the other phases.
    [
        PhaseName.PREPARE_DIRECTORIES,
        PhaseName.STAGE_WORKSPACE_SNAPSHOT,
        PhaseName.PREPARE_RUNTIME,
        PhaseName.COLLECT_ARTIFACTS,
    ],
)
def test_a_run_can_be_cancelled_before_its_guest_is_made_and_after_its_job(
    guests: GuestRunner, phase: PhaseName
) -> None:
    command = "true" if phase == PhaseName.COLLECT_ARTIFACTS else until("never")
    with ending(guests.start(guest_job("a", command))) as process:
        wait_for(lambda: guests.state.run(RUN_ID).root.exists() and guests.begins(phase))
        process.send_signal(signal.SIGINT)
        process.wait(60)
    (job,) = guests.record()["jobs"]
    # What was over when the word came is what it was.
    over = {"passed"} if phase == PhaseName.COLLECT_ARTIFACTS else set()
    assert job["status"] in {"cancelled"} | over, job["cause"]
    assert job["failure_kind"] is None
    assert_departs(guests)


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_run_can_be_cancelled_while_its_guest_is_made(
    told_guests: GuestRunner, proxy: Proxy, request_: str
) -> None:
    with ending(told_guests.at(proxy.path).start(guest_job("a", until("never")))) as process:
        wait_for(lambda: told_guests.state.run(RUN_ID).root.exists() and proxy.count(request_))
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert told_guests.record()["status"] == "cancelled"
    assert_departs(told_guests)


def test_cancel_ends_a_run_with_its_log_and_artifacts(
    incus_server: IncusServer, tmp_path: Path
) -> None:
    targets = f"""
      long.jobs.it = {{
        runtime = "incus"; incus.role = "runner"; timeoutSecs = 600;
        command = ''echo said; echo kept > $PIKACI_ARTIFACTS/kept; {until("never")}'';
      }};
    """
    project = make_project(tmp_path, incus_server, targets)
    with started(project, "run", "long", "--output", "json", "--wait-removal") as running:
        (run_id,) = wait_for(project.run_ids)
        log = project.state / f"runs/{run_id}/jobs/it/attempts/1/guest.log"
        wait_for(lambda: log.exists() and log.read_text())
        project.pikaci("cancel", run_id).passed()
        done = finish(running)
    assert done.code == 130
    (job,) = done.json["jobs"]
    assert (job["status"], job["cause"]["code"]) == ("cancelled", "cancelled")
    assert log.read_text() == "said\n"
    assert [row["path"] for row in job["artifacts"]] == ["kept"]
    assert_nothing_is_left(incus_server, project.state)


# Late


async def test_a_job_that_ignores_its_deadline_is_killed_in_the_guest(hasty: GuestRunner) -> None:
    stubborn = f"trap '' TERM; {HEAD} while :; do sleep 0.1; done"
    ended = await late(hasty, guest_job("a", stubborn, timeout_secs=1))
    assert '"timed_out"' in (ended.layout.attempt("a", 1) / "artifacts/result.json").read_text()


@pytest.mark.parametrize(
    "hang", ["kill -STOP $PPID; kill -STOP -1; kill -STOP $$", "kill -KILL $PPID; sleep 60"]
)
async def test_a_guest_that_hangs_or_whose_job_kills_the_runner_is_ended_by_the_host(
    hasty: GuestRunner, hang: str
) -> None:
    text = f"{HEAD} echo kept > $PIKACI_ARTIFACTS/kept; {hang}"
    ended = await late(hasty, guest_job("a", text, timeout_secs=1, run_as_root=True))
    assert ended.job("a").exit_code is None
    assert [row.path for row in ended.job("a").artifacts] == ["kept"]
    assert not (ended.layout.attempt("a", 1) / "artifacts/result.json").exists()


async def test_a_guest_that_is_paused_is_ended_by_the_host(hasty: GuestRunner) -> None:
    running = asyncio.ensure_future(
        hasty.run_here(guest_job("a", f"{HEAD} sleep 600", timeout_secs=600), wait_removal=True)
    )
    log = hasty.state.run(RUN_ID).attempt("a", 1) / "guest.log"
    await asyncio.to_thread(wait_for, lambda: log.exists() and f"\n{LINES}\n" in log.read_text())
    (name,) = hasty.server.instances()
    await asyncio.to_thread(hasty.server.incus, "pause", name)
    ended = await running
    assert ended.job("a").failure_kind is FailureKind.INFRASTRUCTURE
    assert_log_is_complete(ended)
    assert_nothing_is_left(hasty.server, hasty.state.root)


async def test_a_guest_that_its_job_takes_down_is_infrastructure_and_tried_again(
    hasty: GuestRunner,
) -> None:
    # What is printed in a guest's last moment may go with it.
    text = f"{HEAD} {until_logged(LINES)} kill -TERM 1; sleep 60"
    retries = Retries(infrastructure=1)
    ended = await hasty.run_here(guest_job("a", text, retries=retries, run_as_root=True))
    assert ended.job("a").failure_kind is FailureKind.INFRASTRUCTURE
    assert ended.job("a").attempt == 2
    assert_log_is_complete(ended)
    await asyncio.to_thread(hasty.reap)
    assert_nothing_is_left(hasty.server, hasty.state.root)
    assert not list(incus_guests(hasty.state).all())
