"""Removing the guests on this machine that are not needed any more.

Where no guest of a kind was ever made, nothing of that kind is imported or asked.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError
from jerichoci.machine.gather import run_blocking
from jerichoci.placement import User
from jerichoci.runtime.reaper import GuestPlace, reap
from jerichoci.state.ledger import GuestNote, incus_guests, tart_guests

if TYPE_CHECKING:
    from collections.abc import Collection

    from jerichoci.state.layout import StateLayout

LOGGER = logging.getLogger("jerichoci")


def reap_dead_guests(state: StateLayout) -> None:
    """Remove the guests of dead runs, as far as they have notes."""
    for ledger in (incus_guests(state), tart_guests(state)):
        doomed = [note for note in ledger.of(None) if ledger.is_doomed(note, requested=False)]
        for place in _places(state, doomed):
            _reap(place, requested=False, strays=False)
    _remove_gates(state)


def reap_all_guests(state: StateLayout) -> list[str]:
    """Remove every guest that isn't needed; the names of those that were there."""
    instances, vms = incus_guests(state), tart_guests(state)
    places: list[GuestPlace] = []
    if vms.directory.exists() and shutil.which("tart"):
        vms.sweep()
        places.append(_tart(state))
    if instances.directory.exists():
        from jerichoci.plan.hosts import local_settings

        instances.sweep()
        site = local_settings().incus
        noted = {(note.socket, note.project) for note in instances.of(None)}
        places += _incus(state, {*noted, (str(site.socket_path()), site.project)})
    removed = [name for place in places for name in _reap(place)]
    _remove_gates(state)
    return removed


def _remove_gates(state: StateLayout) -> None:
    """Remove what kept the networks of guests that are gone."""
    if (notes := state.root / "gates").is_dir():
        from jerichoci.machine.guest_gate import remove_left

        remove_left(notes)


def remove_kept_guests(state: StateLayout, run_id: str) -> None:
    """Remove the guests that a run kept, whose record is removed."""
    for ledger in (incus_guests(state), tart_guests(state)):
        for note in ledger.of(None, run_id):
            (place,) = _places(state, [note])
            run_blocking(place.remove(note.name))
            ledger.forget(note.name)


def _reap(place: GuestPlace, *, requested: bool = True, strays: bool = True) -> list[str]:
    try:
        return run_blocking(reap(place, requested=requested, strays=strays))
    except PikaciError as error:
        LOGGER.warning("could not look for %ss: %s", place.what, error)
        return []


def _places(state: StateLayout, notes: Collection[GuestNote]) -> list[GuestPlace]:
    """Where the guests of notes are."""
    sockets = {(note.socket, note.project) for note in notes if note.socket}
    vms = [_tart(state)] if any(not note.socket for note in notes) else []
    return [*_incus(state, sockets), *vms]


def _incus(state: StateLayout, places: Collection[tuple[str, str]]) -> list[GuestPlace]:
    if not places:
        return []
    from jerichoci.runtime.incus.client import Incus
    from jerichoci.runtime.incus.reaper import IncusPlace

    user = User(os.getuid(), os.getgid())
    return [
        IncusPlace(state, Incus(Path(socket), project), user, socket=Path(socket))
        for socket, project in sorted(places)
    ]


def _tart(state: StateLayout) -> GuestPlace:
    from jerichoci.runtime.tart.reaper import TartPlace

    return TartPlace(state)
