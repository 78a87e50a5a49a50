"""An Incus that was told to end, and refuses all changes until no command runs in its guests."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from incus_fake import HAND_OVERS, FakeIncus, Fault
from incus_jobs import guest_job, run_guests
from jerichoci.state.ledger import incus_guests
from jerichoci.status import FailureKind, KeepPolicy, Status

if TYPE_CHECKING:
    from runner import Ended, Runner

EXEC = "POST instances/.*/exec"


def ending_with(line: str, times: int) -> Fault:
    return Fault(line, "refuse", "Shutting down", 503, times=times)


@pytest.mark.parametrize("line", ["POST instances", EXEC, "PUT .*/state", "PATCH .*"])
async def test_what_an_ending_daemon_refuses_is_asked_of_the_next(
    runner: Runner, fake: FakeIncus, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.thread.ENDING_PAUSE_SECS", 0.01)
    fake.faults = [ending_with(line, 20)]
    keep = KeepPolicy.ALWAYS if line.startswith("PATCH") else KeepPolicy.NEVER
    run = await run_guests(runner, guest_job("a"), keep=keep)
    assert run.record.status is Status.PASSED, run.log("a")
    assert len(fake.requests(line)) == 21 + (HAND_OVERS if line == EXEC else 0)
    assert len(fake.started) == 1
    assert "clean-up failed" not in run.log("a")


@pytest.mark.parametrize("line", ["POST instances", EXEC])
async def test_a_daemon_that_never_ends_is_given_up(
    runner: Runner, fake: FakeIncus, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr("jerichoci.runtime.incus.thread.ENDING_SECS", 0.1)
    fake.faults = [ending_with(line, 999)]
    found = (await run_guests(runner, guest_job("a"))).job("a")
    assert found.failure_kind is FailureKind.INFRASTRUCTURE
    assert found.cause
    assert "is shutting down: it waits for commands in guests" in found.cause.message
    assert found.cause.hint == "try again when it is back"


async def test_a_guest_that_was_begun_is_made_anew_by_the_next_daemon(
    runner: Runner, fake: FakeIncus
) -> None:
    fake.faults = [
        Fault("POST instances", "half", "context canceled"),
        ending_with("DELETE .*", 4),
    ]
    run = await run_guests(runner, guest_job("a"))
    assert run.record.status is Status.PASSED, run.log("a")
    assert len(fake.requests("DELETE .*")) == 5
    assert len(fake.created) == 2


def test_a_run_that_waits_for_one_can_be_cancelled(runner: Runner, fake: FakeIncus) -> None:
    fake.faults = [ending_with("POST instances", 9999)]

    async def cancelled() -> Ended:
        running = asyncio.ensure_future(run_guests(runner, guest_job("a")))
        await asyncio.to_thread(wait_for, lambda: fake.created)
        (run_id,) = (path.name for path in runner.state.runs.iterdir())
        (runner.state.run(run_id).root / "cancel").touch()
        os.kill(os.getpid(), signal.SIGTERM)
        return await running

    run = asyncio.run(cancelled())
    assert run.record.status is Status.CANCELLED
    assert not list(incus_guests(runner.state).all())
