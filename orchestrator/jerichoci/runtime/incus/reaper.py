"""Removing guests that nobody needs any more.

A guest is needed while the process that runs its run lives, unless that handed it over already, and
while it is kept for a look. All calls block. What can't be removed now keeps its note, so whoever
comes next tries again.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError
from jerichoci.placement import User
from jerichoci.runtime.incus.api import IncusError
from jerichoci.runtime.incus.note import EXPIRY_LABEL, OWNER_LABEL, RUN_LABEL, guest_notes
from jerichoci.state.ids import is_run_id
from jerichoci.state.owner import is_owned
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from jerichoci.runtime.incus.api import Instance
    from jerichoci.runtime.incus.client import Incus
    from jerichoci.runtime.incus.note import GuestNote
    from jerichoci.state.layout import StateLayout
    from jerichoci.state.notes import Notes

    Opener = Callable[[Path, str], Incus]

LOGGER = logging.getLogger("jerichoci")
DELETE_SECS = 60.0
"""A forced stop takes 600 ms, and longer where many are stopped at once."""
HAND_OVER_SECS = 30.0
"""For a guest to give its files away; one that hangs keeps them."""


@dataclass(frozen=True)
class AwayGuests:
    """The guests of some runs that are in the Incus of another host, where we are `user`.

    Those of the runs in `removed` are kept no longer.
    """

    host: str
    runs: Collection[str]
    removed: Collection[str]
    user: User


def reap_guests(
    state: StateLayout,
    open_incus: Opener | None = None,
    *,
    handed_over: bool = True,
    away: AwayGuests | None = None,
) -> list[str]:
    """Remove the guests of dead runs, those whose time is over, and those that were handed over.

    Those of this machine, or those `away`, whose Incus `open_incus` reaches. Returns the names of
    those that were there and not on their way out. Without `handed_over`, Incus is trusted to
    remove what it was asked to.
    """
    notes = guest_notes(state)
    removed = []
    for note in doomed_guests(state, handed_over=handed_over, away=away):
        incus = (open_incus or _open)(Path(note.socket), note.project)
        try:
            found = incus.instance(note.name)
            _hand_over(incus, found, away.user if away else _me())
            incus.delete(note.name, DELETE_SECS)
        except PikaciError as error:
            LOGGER.warning("guest %s stays: %s", note.name, error)
            continue
        _forget(state, notes, note)
        if found is not None and not note.handed_over:
            removed.append(note.name)
    return removed


def doomed_guests(
    state: StateLayout, *, handed_over: bool = True, away: AwayGuests | None = None
) -> list[GuestNote]:
    """The guests that `reap_guests` would remove."""
    return [
        note
        for note in guest_notes(state).all()
        if _is_meant(note, away)
        and (_is_removed(note, away) or _is_doomed(state, note, handed_over=handed_over))
    ]


def remove_kept(state: StateLayout, run_id: str) -> None:
    """Remove the guests that a run kept, whose record goes.

    Raises:
        InfrastructureError: Incus can't be reached, or one can't be removed.
    """
    notes = guest_notes(state)
    for note in [note for note in notes.all() if note.run_id == run_id and note.away is None]:
        incus = _open(Path(note.socket), note.project)
        _hand_over(incus, incus.instance(note.name), _me())
        incus.delete(note.name, DELETE_SECS)
        notes.forget(note.name)


def reap_strays(state: StateLayout, incus: Incus) -> list[str]:
    """Remove the guests that bear this state root's label and that no note tells of."""
    noted = {note.name for note in guest_notes(state).all()}
    labelled = incus.instances({OWNER_LABEL: state.owner_id()})
    strays = [found for found in labelled if found.name not in noted and _is_stray(state, found)]
    for stray in strays:
        incus.delete(stray.name, DELETE_SECS)
    return [stray.name for stray in strays]


def see_departed(state: StateLayout, incus: Incus, socket: Path) -> None:
    """Forget the guests that were handed over and are gone; ask again for those that are not.

    `socket` is that of `incus`: what isn't there may be in another one.
    """
    notes = guest_notes(state)
    place = (str(socket), incus.project)
    over = [
        note for note in notes.all() if note.handed_over and (note.socket, note.project) == place
    ]
    if over:
        there = {found.name for found in incus.instances({OWNER_LABEL: state.owner_id()})}
        for note in over:
            if note.name in there:
                incus.stop(note.name)
            else:
                notes.forget(note.name)


def reap_all(state: StateLayout, projects: Iterable[tuple[Path, str]] = ()) -> list[str]:
    """Remove every guest that nobody needs, in the projects of notes and in `projects`."""
    guest_notes(state).sweep()
    notes = [note for note in guest_notes(state).all() if note.away is None]
    places = {(Path(note.socket), note.project) for note in notes} | set(projects)
    removed = reap_guests(state)
    for socket, project in sorted(places):
        try:
            removed += reap_strays(state, _open(socket, project))
        except PikaciError as error:
            LOGGER.warning("guests may stay: %s", error)
    return removed


def _open(socket: Path, project: str) -> Incus:
    from jerichoci.runtime.incus.client import Incus

    return Incus(socket, project)


def _is_meant(note: GuestNote, away: AwayGuests | None) -> bool:
    if away is None:
        return note.away is None
    return note.away == away.host and note.run_id in away.runs


def _is_removed(note: GuestNote, away: AwayGuests | None) -> bool:
    return away is not None and note.run_id in away.removed


def _is_doomed(state: StateLayout, note: GuestNote, *, handed_over: bool) -> bool:
    if note.handed_over:
        return handed_over
    if note.kept_until is not None:
        return not note.is_kept()
    return not is_owned(state.run(note.run_id).root)


def _is_stray(state: StateLayout, found: Instance) -> bool:
    expires = found.config.get(EXPIRY_LABEL, "")
    if expires.isdecimal() and int(expires) > time.time():
        return False
    run_id = found.config.get(RUN_LABEL, "")
    return not is_run_id(run_id) or not is_owned(state.run(run_id).root)


def _me() -> User:
    return User(os.getuid(), os.getgid())


def _hand_over(incus: Incus, found: Instance | None, user: User) -> None:
    """Have a guest give a user its files, which only root could remove without it."""
    if user.uid == 0 or found is None or not found.is_running:
        return
    from jerichoci.runtime.guest_runner import hand_over_command

    with suppress(IncusError):
        incus.execute(found.name, *hand_over_command(user.uid, user.gid), HAND_OVER_SECS)


def _forget(state: StateLayout, notes: Notes[GuestNote], note: GuestNote) -> None:
    """Remove a note, and what was kept beside its guest."""
    run = state.run(note.run_id)
    if note.kept_until is not None and not is_owned(run.root):
        remove_tree(run.scratch)
    notes.forget(note.name)
