"""Removing what nobody needs any more, and never what a live or kept run does.

- `reap` closes the runs whose process died and removes what they left.
- `collect_garbage` reaps, then removes the oldest runs that are over, and then the snapshots, git
  objects, fetched sources and caches that no remaining run names, and what of the guests' store no
  guest uses. Nix roots lie in a run's directory and go with it. A snapshot used within the last
  hour stays: it may belong to a run that has no record yet.

What is left on other machines is `leftovers`'.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jerichoci.cleanup.dead_runs import close_dead_runs, going_on
from jerichoci.cleanup.guests import reap_all_guests, remove_kept_guests
from jerichoci.machine.memory import remove_stale_groups
from jerichoci.nix.guest_views import collect_views, remove_stale_views
from jerichoci.record.order import renew
from jerichoci.record.store import RunStore
from jerichoci.remote.ssh.socket_directory import remove_stale_sockets
from jerichoci.snapshot.materialise import remove_snapshot, remove_stale_materialisations
from jerichoci.snapshot.repository import RECENT_SECS, prune_repository
from jerichoci.state.lock import try_lock
from jerichoci.state.owner import is_owned
from jerichoci.state.reading import read_object
from jerichoci.state.removal import remove_unowned
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jerichoci.state.layout import RunLayout, StateLayout


@dataclass(frozen=True)
class Collected:
    """What went: run ids, trees whose snapshot directory went, trees whose ref went; runs kept.

    `views` are keys of closures that guests saw.
    """

    runs: tuple[str, ...]
    snapshots: tuple[str, ...]
    refs: tuple[str, ...]
    kept: int
    views: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reaped:
    """The ids of the runs that were closed, the names of the guests that were removed."""

    runs: tuple[str, ...]
    guests: tuple[str, ...]


def reap(state: StateLayout) -> Reaped:
    """Close dead runs and remove half-made things and guests that nobody needs."""
    closed = close_dead_runs(state)
    guests: list[str] = []
    with going_on("could not remove guests"):
        guests = reap_all_guests(state)
    with going_on("sockets that led to hosts stay"):
        remove_stale_sockets()
    with going_on("control groups of dead jobs stay"):
        remove_stale_groups()
    with going_on("half-made snapshots stay"):
        remove_stale_materialisations(state.root)
    with going_on("half-made views of the guests' store stay"):
        remove_stale_views(state)
    return Reaped(tuple(closed), tuple(guests))


async def collect_garbage(state: StateLayout, keep_runs: int, *, dry_run: bool) -> Collected:
    """Keep the newest `keep_runs` runs that are over and all that go on; remove the rest."""
    reap(state)
    kept, doomed = _choose(state, keep_runs)
    trees = _trees(kept)
    snapshots = [path.name for path in _snapshots(state) if path.name not in trees]
    if dry_run:
        names = tuple(run.run_id for run in doomed)
        idle = await collect_views(state, dry_run=True)
        return Collected(names, tuple(snapshots), (), len(kept), tuple(idle))
    removed = [run.run_id for run in doomed if _remove_run(state, run)]
    with going_on("the order of runs keeps the names of those that are gone"):
        renew(state)
    known = {run.run_id for run in (*kept, *doomed)}
    gone = [tree for tree in snapshots if _remove_snapshot(state, tree, known)]
    with try_lock(state.nix_cache_lock) as unused:
        if unused:
            with going_on(f"{state.nix_cache} can't be removed"):
                remove_tree(state.nix_cache)
    # Asked again under the repository's lock: runs may have begun since.
    refs = await prune_repository(state.root, lambda: _trees(_runs(state)))
    _remove_old_children(state.root / "sources")
    views: list[str] = []
    with going_on("the guests' store can't be collected"):
        views = await collect_views(state, dry_run=False)
    return Collected(tuple(removed), tuple(gone), tuple(refs), len(kept), tuple(views))


def _runs(state: StateLayout) -> list[RunLayout]:
    return [state.run(run_id) for run_id in RunStore(state.root).run_ids()]


def _choose(state: StateLayout, keep_runs: int) -> tuple[list[RunLayout], list[RunLayout]]:
    live: list[RunLayout] = []
    over: list[RunLayout] = []
    for run in _runs(state):
        (live if is_owned(run.root) else over).append(run)
    return [*live, *over[:keep_runs]], over[keep_runs:]


def _trees(runs: Sequence[RunLayout]) -> set[str]:
    found: set[str] = set()
    for run in runs:
        try:
            values = read_object(run.record)
        except (OSError, ValueError):
            continue
        found |= {str(values.get("snapshot_id")), str(values.get("source_tree"))}
    return found


def _snapshots(state: StateLayout) -> list[Path]:
    if not state.snapshots.is_dir():
        return []
    return [
        path
        for path in state.snapshots.iterdir()
        if path.is_dir() and not path.name.startswith(".") and not _is_recent(path)
    ]


def _remove_run(state: StateLayout, run: RunLayout) -> bool:
    with going_on(f"{run.run_id} can't be removed"):
        remove_kept_guests(state, run.run_id)
        return remove_unowned(state, run.root)
    return False


def _remove_snapshot(state: StateLayout, tree: str, known: set[str]) -> bool:
    """Remove a snapshot that no known run needs, unless it was asked for since."""

    def is_needed(snapshot: Path) -> bool:
        since = [run for run in _runs(state) if run.run_id not in known]
        return _is_recent(snapshot) or tree in _trees(since)

    with going_on(f"snapshot {tree} can't be removed"):
        return remove_snapshot(state.root, tree, is_needed)
    return False


def _remove_old_children(directory: Path) -> None:
    if directory.is_dir():
        for child in directory.iterdir():
            with going_on(f"{child} can't be removed"):
                if not _is_recent(child):
                    remove_tree(child)


def _is_recent(path: Path) -> bool:
    """Whether it was used lately; what is gone wasn't, nor was what a wrong clock says."""
    try:
        return abs(path.lstat().st_mtime - time.time()) <= RECENT_SECS
    except FileNotFoundError:
        return False
