"""Removing the guests of a state root, of whatever kind.

Where no guest of a kind was ever noted, nothing of that kind is imported or asked.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from jerichoci.state.notes import guest_notes, vm_notes

if TYPE_CHECKING:
    from jerichoci.state.layout import StateLayout


def reap_dead_guests(state: StateLayout) -> None:
    """Remove the guests of dead runs that are on this machine, as far as they have notes."""
    if guest_notes(state).of(None):
        from jerichoci.runtime.incus.reaper import reap_guests

        reap_guests(state, requested=False)
    if vm_notes(state).of(None):
        from jerichoci.runtime.tart.reaper import VmReaper

        VmReaper(state).reap()


def reap_all_guests(state: StateLayout) -> list[str]:
    """Remove every guest on this machine that isn't needed; the names of those that were there."""
    removed: list[str] = []
    if vm_notes(state).directory.exists() and shutil.which("tart"):
        from jerichoci.runtime.tart.reaper import VmReaper

        vm_notes(state).sweep()
        removed += VmReaper(state).reap()
    if guest_notes(state).directory.exists():
        from jerichoci.plan.hosts import local_settings
        from jerichoci.runtime.incus.reaper import reap_all

        site = local_settings().incus
        removed += reap_all(state, [(site.socket_path(), site.project)])
    return removed


def remove_kept_guests(state: StateLayout, run_id: str) -> None:
    """Remove the guests on this machine that a run kept, whose record is removed."""
    if guest_notes(state).of(None, run_id):
        from jerichoci.runtime.incus.reaper import remove_kept

        remove_kept(state, run_id)
    if vm_notes(state).of(None, run_id):
        from jerichoci.runtime.tart.reaper import VmReaper

        VmReaper(state).remove(run_id)
