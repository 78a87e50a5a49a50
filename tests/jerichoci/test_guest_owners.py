"""Whose a guest is, and whose its files are when it goes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from incus_fake import FakeIncus, Started
from incus_jobs import guest_job, run_guests
from jerichoci.cleanup.guests import reap_all_guests
from jerichoci.runtime.incus.guest import instance_name
from jerichoci.state.ledger import GuestNote, incus_guests
from jerichoci.status import KeepPolicy
from plans import RUN_ID
from privilege import only_root_can

if TYPE_CHECKING:
    from runner import Runner

NOBODY = 65534


def test_two_state_roots_name_the_same_attempt_differently() -> None:
    names = {instance_name(owner, RUN_ID, "a", 1) for owner in ("one", "other")}
    assert len(names) == 2


@pytest.mark.parametrize("job_id", ["a", "_", "x" * 64, "a_b-C"])
def test_a_name_is_a_host_name(job_id: str) -> None:
    name = instance_name("owner", RUN_ID, job_id, 12)
    assert len(name) <= 63
    assert name.replace("-", "").isalnum()


@pytest.fixture
async def kept(runner: Runner, fake: FakeIncus) -> GuestNote:
    """A guest that was kept, for so long that its time is over."""
    fake.job = Started.end
    await run_guests(runner, guest_job("a"), keep=KeepPolicy.ALWAYS)
    notes = incus_guests(runner.state)
    (note,) = notes.all()
    notes.change(note, kept_until=1.0)
    return note


def test_a_guest_hands_its_files_over_before_a_user_removes_it(
    runner: Runner, fake: FakeIncus, kept: GuestNote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: NOBODY)
    assert reap_all_guests(runner.state) == [kept.name]
    assert fake.executed[-1] == ["--hand-over", f"{NOBODY}:{os.getgid()}"]
    assert fake.instances == {}
    assert list(incus_guests(runner.state).all()) == []


def test_root_needs_nothing_handed_over(
    runner: Runner, fake: FakeIncus, kept: GuestNote, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_root_can("run a guest for which nothing is handed over")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert reap_all_guests(runner.state) == [kept.name]
    assert ["--hand-over"] not in [argv[:1] for argv in fake.executed]
