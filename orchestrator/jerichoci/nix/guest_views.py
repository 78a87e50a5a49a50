"""Where the guests' store and its views lie, and removing the views that are not used.

Consistency:

- `views/<key>` is whole: it is built as `views/.tmp-<key>-<random>` and renamed. Who builds it
  holds the lock `guest-view-<key>`; a temporary one whose lock is free was left by a process that
  died.
- A lease is a symbolic link `runs/<run>/scratch/<attempt>/view` to the view. It is made before the
  view is looked for, both under the shared lock `guest-views`; views are chosen for removal and
  taken away under the same lock, held exclusively. So a view that was found is kept.
- Nix's roots of a view are made before its paths are copied. A copy holds `guest-store`
  shared, the first one exclusively, and the guests' store is collected while it is free.
- A view has links of its own to the files: collecting the store takes nothing from it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine import process
from jerichoci.nix import command as nix
from jerichoci.snapshot.repository import RECENT_SECS
from jerichoci.state.lock import lock, try_lock
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.state.layout import StateLayout

STORE_LOCK = "guest-store"
VIEWS_LOCK = "guest-views"
LEASE = "view"
"""The name of a lease in an attempt's scratch directory."""
VIEWS_WAIT_SECS = 60.0
"""That lock is held for a look, or for as many renames as there are old views."""
COLLECT_DEADLINE_SECS = 3600.0
"""Collecting a guests' store of a million files on a slow disk."""

UNFINISHED = ".tmp-"
_REMOVED = ".gone-"


def view_lock(key: str) -> str:
    """The lock held while a view is built."""
    return f"guest-view-{key}"


def remove_stale_views(state: StateLayout) -> None:
    """Remove views half-built or half-removed by processes that died."""
    for path in state.guest_views.glob(f"{_REMOVED}*"):
        remove_tree(path)
    for path in state.guest_views.glob(f"{UNFINISHED}*"):
        key = path.name.removeprefix(UNFINISHED).rpartition("-")[0]
        with try_lock(state.lock(view_lock(key))) as held:
            if held:
                remove_tree(path)


async def collect_views(state: StateLayout, *, dry_run: bool) -> list[str]:
    """Remove the views that no run leases and that were not used lately; the keys of those.

    What only they needed is removed from the guests' store, unless it is being filled now.
    """
    if not state.guest_store.is_dir():
        return []
    if dry_run:
        return [key for key in _unused(state) if (state.guest_views / key).exists()]
    async with lock(state.lock(VIEWS_LOCK), VIEWS_WAIT_SECS):
        removed = [key for key in _unused(state) if _take_away(state, key)]
    remove_stale_views(state)
    await _collect_store(state)
    return removed


def _unused(state: StateLayout) -> list[str]:
    leased = set(_leased(state))
    used: dict[str, float] = {}
    for directory in (state.guest_views, state.guest_roots):
        for path in directory.glob("[!.]*"):
            with suppress(FileNotFoundError):
                used[path.name] = max(used.get(path.name, 0.0), path.lstat().st_mtime)
    recent = time.time() - RECENT_SECS
    return sorted(key for key, when in used.items() if key not in leased and when < recent)


def _leased(state: StateLayout) -> Iterator[str]:
    for attempt in state.runs.glob("*/scratch/*"):
        # A view that is still to be made has a lease too.
        with suppress(OSError):
            yield (attempt / LEASE).readlink().name


def _take_away(state: StateLayout, key: str) -> bool:
    """Take away a view and its roots; whether there was a view."""
    path = state.lock(view_lock(key))
    with try_lock(path) as held:
        if not held:
            return False
        remove_tree(state.guest_roots / key)
        path.unlink()
        try:
            taken = f"{_REMOVED}{key}-{os.urandom(4).hex()}"
            (state.guest_views / key).rename(state.guest_views / taken)
        except FileNotFoundError:
            return False
    return True


async def _collect_store(state: StateLayout) -> None:
    with try_lock(state.lock(STORE_LOCK)) as unused:
        if not unused or not state.guest_paths.is_dir():
            return
        argv = nix.collect_argv(nix.rooted_store(str(state.guest_store.resolve())))
        done = await process.run(argv, deadline_secs=COLLECT_DEADLINE_SECS)
        if not done.ok:
            raise InfrastructureError(f"the guests' store can't be collected: {done.reason()}")
