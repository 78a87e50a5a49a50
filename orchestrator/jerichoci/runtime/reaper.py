"""Removing guests that are not needed any more, whatever makes them.

A guest is needed while the process that runs its run lives, unless its removal was requested, and
while it is kept for a look. What can't be removed now keeps its note, and the next call tries
again.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

from jerichoci.errors import PikaciError
from jerichoci.state.dataclass import dataclass
from jerichoci.state.owner import is_owned

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Mapping

    from jerichoci.state.ledger import GuestLedger, GuestNote

LOGGER = logging.getLogger("jerichoci")


@dataclass(frozen=True)
class Found:
    """A guest of the state root that exists, and what its labels or its name say of it."""

    run_id: str | None
    is_running: bool
    kept_until: float = 0.0


class GuestPlace(Protocol):
    """Where guests of a state root may be: a project of an Incus, or a host's Tart."""

    @property
    def what(self) -> str:
        """What a guest is called there, for people."""

    @property
    def ledger(self) -> GuestLedger:
        """The notes of guests of this kind, at whatever place."""

    def has(self, note: GuestNote) -> bool:
        """Whether the guest of a note is here, if it exists."""

    async def found(self) -> Mapping[str, Found]:
        """The guests of the state root that are here, by name."""

    async def remove(self, name: str) -> None:
        """Remove a guest, with what it has; no error if it is gone."""

    async def see_kept(self, name: str, found: Found) -> None:
        """See to a guest that is kept."""


async def reap(
    place: GuestPlace, *, removed: Collection[str] = (), requested: bool = True, strays: bool = True
) -> list[str]:
    """Remove the guests at a place that are not needed; the names of those that were there.

    Those of the runs in `removed` are kept no longer. Without `requested`, Incus is trusted to
    remove what it was asked to. `strays` are guests without a note.
    """
    ledger, there = place.ledger, await place.found()
    notes = {note.name: note for note in ledger.all()}

    def is_doomed(name: str, guest: Found) -> bool:
        if note := notes.get(name):
            return ledger.is_doomed(note, removed=removed, requested=requested)
        return strays and guest.kept_until < time.time() and not _is_live(ledger, guest)

    gone = []
    for name, guest in there.items():
        if is_doomed(name, guest):
            if await _could(place, "remove", place.remove(name), name):
                gone.append(name)
        elif name in notes and notes[name].is_kept():
            await _could(place, "stop", place.see_kept(name, guest), name)
    for name, note in notes.items():
        is_missing = name not in there and place.has(note)
        if name in gone or (is_missing and (note.removal_requested or not _is_live(ledger, note))):
            ledger.forget_kept(note)
    return [name for name in gone if name not in notes or not notes[name].removal_requested]


def _is_live(ledger: GuestLedger, guest: Found | GuestNote) -> bool:
    return is_owned(ledger.state.run(guest.run_id).root) if guest.run_id else False


async def _could(place: GuestPlace, verb: str, act: Awaitable[None], name: str) -> bool:
    try:
        await act
    except PikaciError as error:
        LOGGER.warning("could not %s %s %s: %s", verb, place.what, name, error)
        return False
    return True
