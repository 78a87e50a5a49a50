"""Notes of the Incus guests that one state root has made: `<state_root>/guests/<name>.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jerichoci.state.notes import Note, Notes

if TYPE_CHECKING:
    from jerichoci.state.layout import StateLayout

RUN_LABEL = "user.pikaci.run_id"
JOB_LABEL = "user.pikaci.job_id"
OWNER_LABEL = "user.pikaci.owner"
EXPIRY_LABEL = "user.pikaci.expires"
"""Until when a kept guest is kept, in seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class GuestNote(Note):
    """A guest, and the Incus and project that it is in."""

    placement: str
    socket: str
    project: str


def guest_notes(state: StateLayout) -> Notes[GuestNote]:
    """The notes of a state root."""
    return Notes(state.root / "guests", GuestNote)
