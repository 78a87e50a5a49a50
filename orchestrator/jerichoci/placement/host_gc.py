"""Removing what a state root, or the work directory of a host, keeps for later and isn't needed.

What was used within the last hour is kept: it may be needed by a run that has no directory yet.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import field
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine import cache_store
from jerichoci.nix.guest_views import collect_views, remove_stale_views
from jerichoci.snapshot.materialise import remove_snapshot, remove_stale_materialisations
from jerichoci.snapshot.repository import RECENT_SECS, prune_repository, unused_snapshots
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import StateLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

SECS_OF_DAY = 24 * 3600.0
BYTES_OF_MIB = 1024 * 1024
BYTES_OF_BLOCK = 512
"""What `st_blocks` counts."""


@dataclass(frozen=True)
class Bounds:
    """What may be kept for later: so many snapshots, for so many days, of so many MiB together."""

    count: int
    days: int
    mib: int


@dataclass
class Collected:
    """What was removed: trees, trees whose ref was, keys of views, digests of agents.

    `caches` has for each entry that was removed the cache's name. `bytes` are
    those of the snapshots, where they were counted; `kept` snapshots are left.
    """

    snapshots: list[str] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    caches: list[str] = field(default_factory=list)
    bytes: int = 0
    kept: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Collector:
    """Collects below `root`; `leased` are the trees that runs need, asked whenever it matters."""

    root: Path
    leased: Callable[[], set[str]]

    @property
    def _snapshots(self) -> Path:
        return StateLayout(self.root).snapshots

    def remove_half_made(self, problems: list[str]) -> None:
        """Remove what dead processes have half made or half removed."""
        with noting(problems, self._snapshots):
            remove_stale_materialisations(self.root)
        with noting(problems, self.root / "guest-store"):
            remove_stale_views(StateLayout(self.root))

    def snapshots(self, bounds: Bounds | None, done: Collected, *, dry_run: bool) -> None:
        """Remove snapshots that are beyond the bounds; without bounds, all that isn't needed."""
        doomed = beyond(bounds, self._snapshots, self.leased())
        for snapshot, size in doomed:
            with noting(done.problems, snapshot):
                if dry_run or remove_snapshot(self.root, snapshot.name, self._is_needed):
                    done.snapshots.append(snapshot.name)
                    done.bytes += size
        done.kept = len(snapshots_in(self._snapshots)) - (len(doomed) if dry_run else 0)

    def _is_needed(self, snapshot: Path) -> bool:
        return is_recent(snapshot) or snapshot.name in self.leased()

    async def views(self, done: Collected, *, dry_run: bool) -> None:
        """Remove views of the guests' store that no run leases."""
        try:
            done.views += await collect_views(StateLayout(self.root), dry_run=dry_run)
        except (InfrastructureError, OSError) as error:
            done.problems.append(f"the guests' store can't be collected: {error}")

    def caches(self, done: Collected, *, dry_run: bool) -> None:
        """Remove entries of caches that no job had for long."""
        with noting(done.problems, cache_store.caches_of(self.root)):
            found = cache_store.collect(self.root, dry_run=dry_run)
            done.caches += [entry.name for entry in found]

    async def refs(self, done: Collected, *, dry_run: bool) -> None:
        """Remove the git objects of trees that neither a run nor a snapshot needs."""

        def needed(gone: Collection[str] = ()) -> set[str]:
            # A snapshot that couldn't be removed has its objects still.
            there = {path.name for path in snapshots_in(self._snapshots)}
            return (there - set(gone)) | self.leased()

        if dry_run:
            done.refs += await unused_snapshots(self.root, needed(done.snapshots))
        else:
            # Asked under the repository's lock: runs may have begun since.
            done.refs += await prune_repository(self.root, needed)


def snapshots_in(directory: Path) -> list[Path]:
    """The snapshots that are whole."""
    return [path for path in children(directory) if not path.name.startswith(".")]


def beyond(
    bounds: Bounds | None, directory: Path, leased: Collection[str]
) -> list[tuple[Path, int]]:
    """The snapshots to remove, the least recently used first, and the bytes that go with each.

    Those that are leased or were used lately are kept and counted before all others. Files that
    snapshots share are counted once. Nothing is counted without bounds.
    """
    now = time.time()
    rows = []
    for path in snapshots_in(directory):
        with suppress(FileNotFoundError):
            used = path.lstat().st_mtime
            rows.append((path.name in leased or is_recent(path), used, path))
    seen: set[tuple[int, int]] = set()
    total = 0
    doomed: list[tuple[Path, int]] = []
    for count, (is_kept, used, path) in enumerate(sorted(rows, reverse=True), 1):
        size = disk_bytes(path, seen) if bounds else 0
        total += size
        fits = (
            bounds is not None
            and count <= bounds.count
            and total <= bounds.mib * BYTES_OF_MIB
            and used > now - bounds.days * SECS_OF_DAY
        )
        if not is_kept and (doomed or not fits):
            doomed.append((path, size))
    return doomed[::-1]


def disk_bytes(top: Path, seen: set[tuple[int, int]]) -> int:
    """What a tree takes of the disk, but for the files in `seen`, which gets those of the tree."""
    total = 0
    waiting = [str(top)]
    while waiting:
        with suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    waiting.append(entry.path)
                elif found.st_nlink > 1:
                    inode = (found.st_dev, found.st_ino)
                    if inode in seen:
                        continue
                    seen.add(inode)
                total += found.st_blocks * BYTES_OF_BLOCK
    return total


def children(directory: Path) -> list[Path]:
    """The directories in a directory that may be missing."""
    try:
        return sorted(path for path in directory.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def is_recent(path: Path, secs: float = RECENT_SECS) -> bool:
    """Whether it was used lately; what is gone wasn't, nor was what a wrong clock says."""
    try:
        return abs(path.lstat().st_mtime - time.time()) <= secs
    except FileNotFoundError:
        return False


@contextmanager
def noting(problems: list[str], what: Path) -> Iterator[None]:
    """Note an error instead of raising it: one damaged thing is no reason to leave the rest."""
    try:
        yield
    except OSError as error:
        problems.append(f"{what} can't be removed: {error.strerror or error}")
