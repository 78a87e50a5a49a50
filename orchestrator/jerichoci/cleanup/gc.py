"""Removing what isn't needed any more, and never what a live or kept run needs.

- `reap` closes the runs whose process died and removes what they left.
- `collect_garbage` reaps, then removes the oldest runs that are over and files of jobs that were
  to be kept for some days only, and then the snapshots, git objects, fetched sources and caches
  that no remaining run names, and views of the guests' store that no guest uses. Nix roots lie in a
  run's directory and are removed with it.

`cleanup.remote` does the same on hosts.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import field
from functools import cache
from typing import TYPE_CHECKING

from jerichoci.cleanup.dead_runs import close_dead_runs, logging_errors
from jerichoci.cleanup.guests import reap_all_guests, remove_kept_guests
from jerichoci.cleanup.old_artifacts import remove_old_artifacts
from jerichoci.machine.control_groups import remove_stale_groups
from jerichoci.placement.host_gc import Collected, Collector, is_recent
from jerichoci.record.batch import batch_ids, runs_of
from jerichoci.record.order import renew, run_ids
from jerichoci.record.verdicts import forget_verdicts
from jerichoci.remote.ssh.socket_directory import remove_stale_sockets
from jerichoci.state.dataclass import dataclass
from jerichoci.state.lock import try_lock
from jerichoci.state.owner import is_owned, remove_unowned
from jerichoci.state.reading import read_object
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from jerichoci.state.layout import RunLayout, StateLayout

LOGGER = logging.getLogger("jerichoci")


@dataclass(kw_only=True)
class Garbage(Collected):
    """What was collected here: also runs; `kept_runs` is the number of those that are left."""

    runs: list[str]
    kept_runs: int
    artifacts: list[str] = field(default_factory=list)
    """Jobs of runs that are left whose files were removed, as `RUN/JOB`."""


@dataclass(frozen=True)
class Reaped:
    """The ids of the runs that were closed, the names of the guests that were removed."""

    runs: tuple[str, ...]
    guests: tuple[str, ...]


def reap(state: StateLayout) -> Reaped:
    """Close dead runs, and remove half-made things and guests that are not needed."""
    closed = close_dead_runs(state)
    guests: list[str] = []
    with logging_errors("could not remove guests"):
        guests = reap_all_guests(state)
    with logging_errors("could not remove unused sockets to hosts"):
        remove_stale_sockets()
    with logging_errors("could not remove the control groups of dead jobs"):
        remove_stale_groups()
    problems: list[str] = []
    Collector(state.root, set).remove_half_made(problems)
    _warn(problems)
    return Reaped(tuple(closed), tuple(guests))


async def collect_garbage(state: StateLayout, keep_runs: int, *, dry_run: bool) -> Garbage:
    """Keep the newest `keep_runs` runs that are over and all that run; remove the rest."""
    reap(state)
    kept, doomed = _choose(state, keep_runs)
    if dry_run:
        done = Garbage(runs=[run.run_id for run in doomed], kept_runs=len(kept))
    else:
        removed = [run.run_id for run in doomed if _remove_run(state, run)]
        done = Garbage(runs=removed, kept_runs=len(kept))
        with logging_errors("could not take the names of removed runs out of the order of runs"):
            renew(state)
        with logging_errors("could not remove the verdicts of runs that are removed"):
            forget_verdicts(state)
        with logging_errors("could not remove the files of batches that have no run"):
            _remove_empty_batches(state)
    kept_over = [run for run in kept if not is_owned(run.root)]
    done.artifacts += remove_old_artifacts(kept_over, dry_run=dry_run)
    collector = Collector(state.root, _leases(state, done.runs if dry_run else ()))
    await asyncio.to_thread(collector.caches, done, dry_run=dry_run)
    await asyncio.to_thread(collector.snapshots, None, done, dry_run=dry_run)
    if not dry_run:
        with try_lock(state.nix_cache_lock) as unused:
            if unused:
                with logging_errors(f"{state.nix_cache} can't be removed"):
                    remove_tree(state.nix_cache)
        _remove_old_children(state.root / "sources")
    await collector.views(done, dry_run=dry_run)
    _warn(done.problems)
    await collector.refs(done, dry_run=dry_run)
    return done


def _remove_empty_batches(state: StateLayout) -> None:
    """Remove the files of batches that have no run any more; one just begun has none yet."""
    for batch_id in batch_ids(state):
        path = state.batch(batch_id)
        if not is_recent(path) and not runs_of(state, batch_id):
            path.unlink(missing_ok=True)


def _leases(state: StateLayout, doomed: Collection[str]) -> Callable[[], set[str]]:
    """What asks for the trees that runs need, but for the runs `doomed`; runs may have begun since.

    Each record is read once.
    """
    trees = cache(lambda run_id: _trees(state.run(run_id)))

    def leases() -> set[str]:
        kept = [trees(run_id) for run_id in run_ids(state) if run_id not in doomed]
        return set().union(*kept)

    return leases


def _trees(run: RunLayout) -> set[str]:
    try:
        values = read_object(run.record)
    except (OSError, ValueError):
        return set()
    return {str(values.get("snapshot_id")), str(values.get("source_tree"))}


def _warn(problems: Iterable[str]) -> None:
    for problem in problems:
        LOGGER.warning("%s", problem)


def _choose(state: StateLayout, keep_runs: int) -> tuple[list[RunLayout], list[RunLayout]]:
    live: list[RunLayout] = []
    over: list[RunLayout] = []
    for run_id in run_ids(state):
        run = state.run(run_id)
        (live if is_owned(run.root) else over).append(run)
    return [*live, *over[:keep_runs]], over[keep_runs:]


def _remove_run(state: StateLayout, run: RunLayout) -> bool:
    with logging_errors(f"{run.run_id} can't be removed"):
        remove_kept_guests(state, run.run_id)
        return remove_unowned(state, run.root)
    return False


def _remove_old_children(directory: Path) -> None:
    if directory.is_dir():
        for child in directory.iterdir():
            with logging_errors(f"{child} can't be removed"):
                if not is_recent(child):
                    remove_tree(child)
