"""Which notes go once the guests they tell of are seen to be gone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jerichoci.cleanup.guests import reap_all_guests
from jerichoci.placement import User
from jerichoci.runtime.incus.client import Incus
from jerichoci.runtime.incus.reaper import IncusPlace
from jerichoci.state.ledger import GuestNote, incus_guests
from plans import RUN_ID

if TYPE_CHECKING:
    from incus_fake import FakeIncus
    from jerichoci.state.layout import StateLayout

PROJECT = "pikaci"


def test_the_note_of_a_guest_that_is_gone_goes_and_those_of_other_places_are_kept(
    layout: StateLayout, fake: FakeIncus
) -> None:
    places = {
        "gone": (str(fake.socket), PROJECT),
        "elsewhere": ("/elsewhere/unix.socket", PROJECT),
        "other": (str(fake.socket), "other"),
    }
    notes = incus_guests(layout)
    for name, (socket, project) in places.items():
        made = GuestNote(name=name, run_id=RUN_ID, job_id="a", socket=socket, project=project)
        notes.write(replace(made, removal_requested=True))
    incus = Incus(fake.socket, PROJECT)
    IncusPlace(layout, incus, User(0, 0), socket=fake.socket).see_removed()
    assert [note.name for note in notes.all()] == ["elsewhere", "other"]


def test_the_note_of_a_guest_whose_project_is_gone_goes(
    layout: StateLayout, fake: FakeIncus
) -> None:
    notes = incus_guests(layout)
    socket = str(fake.socket)
    notes.write(GuestNote(name="left", run_id=RUN_ID, job_id="a", socket=socket, project="gone"))
    assert reap_all_guests(layout) == []
    assert list(notes.all()) == []
