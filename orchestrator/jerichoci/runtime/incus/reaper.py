"""Removing instances that are not needed any more.

A guest is needed while the process that runs its run lives, unless Incus was asked to remove it
already, and while it is kept for a look. All calls block. What can't be removed now keeps its note,
and the next call tries again.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError
from jerichoci.placement import User
from jerichoci.runtime.incus.api import EXPIRY_LABEL, OWNER_LABEL, RUN_LABEL, IncusError
from jerichoci.state.guest_notes import guest_notes
from jerichoci.state.ids import is_run_id
from jerichoci.state.owner import is_owned

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from jerichoci.runtime.incus.api import Instance
    from jerichoci.runtime.incus.client import Incus
    from jerichoci.state.guest_notes import GuestNote
    from jerichoci.state.layout import StateLayout


LOGGER = logging.getLogger("jerichoci")
DELETE_SECS = 60.0
"""A forced stop takes 600 ms, and longer where many are stopped at once."""
HAND_OVER_SECS = 30.0
"""For a guest to give its files away; one that hangs keeps them."""


def reap_guests(
    state: StateLayout,
    doomed: Iterable[GuestNote] | None = None,
    open_incus: Callable[[GuestNote], Incus] | None = None,
    user: User | None = None,
) -> list[str]:
    """Remove guests, by default those of this machine that are not needed.

    Guests of another host are reached by `open_incus`, and we are `user` there. Returns the names
    of those that were there and not being removed.
    """
    notes = guest_notes(state)
    removed = []
    for note in doomed_guests(state) if doomed is None else doomed:
        incus = (open_incus or _open_noted)(note)
        try:
            was_there = _remove(incus, note.name, user)
        except PikaciError as error:
            LOGGER.warning("could not remove guest %s: %s", note.name, error)
            continue
        notes.forget_kept(note)
        if was_there and not note.removal_requested:
            removed.append(note.name)
    return removed


def doomed_guests(
    state: StateLayout,
    host: str | None = None,
    *,
    removed: Collection[str] = (),
    requested: bool = True,
) -> list[GuestNote]:
    """The guests on a host (None: this machine) that are not needed.

    Those of the runs in `removed` are kept no longer. Without `requested`, Incus is trusted to
    remove what it was asked to.
    """
    notes = guest_notes(state)
    return [
        note
        for note in notes.of(host)
        if note.run_id in removed
        or (requested if note.removal_requested else notes.is_doomed(note))
    ]


def remove_kept(state: StateLayout, run_id: str) -> None:
    """Remove the guests on this machine that a run kept, whose record is removed."""
    notes = guest_notes(state)
    for note in notes.of(None, run_id):
        _remove(_open_noted(note), note.name)
        notes.forget(note.name)


def reap_strays(state: StateLayout, incus: Incus) -> list[str]:
    """Remove the guests that have this state root's label and no note."""
    noted = {note.name for note in guest_notes(state).all()}
    labelled = incus.instances({OWNER_LABEL: state.owner_id()})
    strays = [found for found in labelled if found.name not in noted and _is_stray(state, found)]
    for stray in strays:
        incus.delete(stray.name, DELETE_SECS)
    return [stray.name for stray in strays]


def see_removed(state: StateLayout, incus: Incus, socket: Path) -> None:
    """Forget the guests that Incus has removed; ask again for those that it has not.

    `socket` is that of `incus`: what isn't there may be in another one.
    """
    notes = guest_notes(state)
    place = (str(socket), incus.project)
    over = [
        note
        for note in notes.all()
        if note.removal_requested and (note.socket, note.project) == place
    ]
    if over:
        there = {found.name for found in incus.instances({OWNER_LABEL: state.owner_id()})}
        for note in over:
            if note.name in there:
                incus.stop(note.name)
            else:
                notes.forget(note.name)


def reap_all(state: StateLayout, projects: Iterable[tuple[Path, str]] = ()) -> list[str]:
    """Remove every guest that isn't needed, in the projects of notes and in `projects`."""
    guest_notes(state).sweep()
    notes = guest_notes(state).of(None)
    places = {(Path(note.socket), note.project) for note in notes} | set(projects)
    removed = reap_guests(state)
    for socket, project in sorted(places):
        try:
            removed += reap_strays(state, _open(socket, project))
        except PikaciError as error:
            LOGGER.warning("could not look for guests without notes: %s", error)
    return removed


def _open_noted(note: GuestNote) -> Incus:
    return _open(Path(note.socket), note.project)


def _open(socket: Path, project: str) -> Incus:
    from jerichoci.runtime.incus.client import Incus

    return Incus(socket, project)


def _is_stray(state: StateLayout, found: Instance) -> bool:
    expires = found.config.get(EXPIRY_LABEL, "")
    if expires.isdecimal() and int(expires) > time.time():
        return False
    run_id = found.config.get(RUN_LABEL, "")
    return not is_run_id(run_id) or not is_owned(state.run(run_id).root)


def _remove(incus: Incus, name: str, user: User | None = None) -> bool:
    """Remove a guest; whether it was there.

    A running one gives `user`, by default us, its files, which only root could remove otherwise.
    """
    found = incus.instance(name)
    user = user or User(os.getuid(), os.getgid())
    if user.uid != 0 and found is not None and found.is_running:
        from jerichoci.runtime.guest_runner import hand_over_command

        with suppress(IncusError):
            incus.execute(name, *hand_over_command(user.uid, user.gid), HAND_OVER_SECS)
    incus.delete(name, DELETE_SECS)
    return found is not None
