"""The guests of a state root, of whatever kind: what is noted of them, and removing them.

A state root without any asks nobody, and imports nothing that would.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.state.layout import StateLayout
    from jerichoci.state.notes import Note


def noted_guests(state: StateLayout) -> Iterator[Note]:
    """What is noted of guests, those on other hosts and those on their way out included."""
    if has_instances(state):
        from jerichoci.runtime.incus.note import guest_notes

        yield from guest_notes(state).all()
    if has_vms(state):
        from jerichoci.runtime.tart.note import vm_notes

        yield from vm_notes(state).all()


def has_instances(state: StateLayout) -> bool:
    """Whether there ever was a guest in an Incus."""
    return (state.root / "guests").exists()


def has_vms(state: StateLayout) -> bool:
    """Whether there ever was a macOS VM."""
    return (state.root / "vms").exists()


def reap_dead_guests(state: StateLayout) -> None:
    """Remove the guests of dead runs that are on this machine, as far as notes tell of them.

    Raises:
        PikaciError: somebody can't be asked.
    """
    if has_instances(state):
        from jerichoci.runtime.incus.reaper import reap_guests

        reap_guests(state, handed_over=False)
    if any(note.away is None for note in _vms(state)):
        from jerichoci.runtime.tart.reaper import VmReaper

        VmReaper(state).reap()


def reap_all_guests(state: StateLayout) -> list[str]:
    """Remove every guest on this machine that nobody needs; the names of those that were there.

    Raises:
        PikaciError: somebody can't be asked.
    """
    removed: list[str] = []
    if has_vms(state) and shutil.which("tart"):
        from jerichoci.runtime.tart.note import vm_notes
        from jerichoci.runtime.tart.reaper import VmReaper

        vm_notes(state).sweep()
        removed += VmReaper(state).reap()
    if has_instances(state):
        from jerichoci.plan.hosts import local_site
        from jerichoci.runtime.incus.reaper import reap_all

        site = local_site()
        removed += reap_all(state, [(site.socket_path(), site.project)])
    return removed


def remove_kept_guests(state: StateLayout, run_id: str) -> None:
    """Remove the guests on this machine that a run kept, whose record goes.

    Raises:
        InfrastructureError: one can't be removed.
    """
    if has_instances(state):
        from jerichoci.runtime.incus.reaper import remove_kept

        remove_kept(state, run_id)
    if any(note.run_id == run_id and note.away is None for note in _vms(state)):
        from jerichoci.runtime.tart.reaper import VmReaper

        VmReaper(state).remove(run_id)


def _vms(state: StateLayout) -> Iterator[Note]:
    if has_vms(state):
        from jerichoci.runtime.tart.note import vm_notes

        yield from vm_notes(state).all()
