"""Which notes go once the guests they tell of are seen to be gone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jerichoci.runtime.incus.client import Incus
from jerichoci.runtime.incus.reaper import see_removed
from jerichoci.state.layout import StateLayout
from jerichoci.state.notes import GuestNote, guest_notes
from plans import RUN_ID

if TYPE_CHECKING:
    from incus_fake import FakeIncus

PROJECT = "pikaci"


@pytest.fixture
def state(tmp_path: Path) -> StateLayout:
    state = StateLayout(tmp_path / "state")
    state.make()
    return state


def note(state: StateLayout, name: str, socket: Path, project: str = PROJECT) -> None:
    """Note a guest that Incus was asked to remove."""
    made = GuestNote(
        name=name,
        run_id=RUN_ID,
        job_id="a",
        socket=str(socket),
        project=project,
        removal_requested=True,
    )
    guest_notes(state).write(made)


def names(state: StateLayout) -> list[str]:
    return [note.name for note in guest_notes(state).all()]


def test_a_guest_that_is_gone_is_forgotten(state: StateLayout, fake: FakeIncus) -> None:
    note(state, "gone", fake.socket)
    see_removed(state, Incus(fake.socket, PROJECT), fake.socket)
    assert names(state) == []


def test_a_guest_of_another_incus_or_project_is_not(state: StateLayout, fake: FakeIncus) -> None:
    note(state, "elsewhere", Path("/elsewhere/unix.socket"))
    note(state, "other", fake.socket, "other")
    see_removed(state, Incus(fake.socket, PROJECT), fake.socket)
    assert names(state) == ["elsewhere", "other"]
