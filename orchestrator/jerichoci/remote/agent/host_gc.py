"""Removing from a work directory what nobody needs any more, whoever made it.

- `reap` removes what died: the directories of runs that no session holds and that aren't kept,
  with the processes noted there; sessions without an agent; what was half made.
- `collect` removes what was only kept for later, beyond bounds: snapshots, the least recently used
  first; the git objects, views of the guests' store and agents that nobody uses.

A run that somebody needs has an owner or is kept, and its directory has a link to the snapshot that
it needs. An agent holds a lock on the directory that it was loaded from. What was used within the
last hour stays: it may belong to somebody who has no directory yet.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine.process import end_recorded_groups
from jerichoci.nix.guest_views import collect_views, remove_stale_views
from jerichoci.remote.agent.frame import pack
from jerichoci.remote.agent.rendezvous import LOCK, SOCKET
from jerichoci.snapshot.materialise import remove_snapshot, remove_stale_materialisations
from jerichoci.snapshot.repository import RECENT_SECS, prune_repository, unused_snapshots
from jerichoci.state.layout import REMOVED_SUFFIX, RunLayout, StateLayout
from jerichoci.state.lock import is_held, lock_directory
from jerichoci.state.removal import take_away
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

KEPT = "kept"
"""In a run's directory, until when it is kept, in seconds since 1970 by this host's clock."""
SNAPSHOT = "snapshot"
"""In a run's directory, a link whose target's name is the snapshot that the run needs."""
YOUNG_SECS = 120.0
"""A session's directory is made before there is an agent that holds it."""
AGENT_END_SECS = 75.0
"""For an agent to let go of everything; it gives itself 60 s."""
LOOK_SECS = 0.05
"""Between two looks whether an agent has ended."""
SECS_OF_DAY = 24 * 3600.0
BYTES_OF_MIB = 1024 * 1024
BYTES_OF_BLOCK = 512
"""What `st_blocks` counts."""


@dataclass(frozen=True)
class Bounds:
    """What may stay for later: so many snapshots, for so many days, of so many MiB together."""

    count: int
    days: int
    mib: int


@dataclass
class Sessions:
    """The sessions that ended, those that don't; names of the runs that were there before."""

    ended: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


@dataclass
class Reaped:
    """What went: names of runs, ids of sessions; `left` are the runs that are still there."""

    runs: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class Collected:
    """What went: trees, trees whose ref went, keys of views, digests of agents; bytes on disk."""

    snapshots: list[str] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    bytes: int = 0
    kept: int = 0
    problems: list[str] = field(default_factory=list)


class Collector:
    """Cleans the work directory `work`."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._state = StateLayout(work)

    async def end_sessions(self, sessions: Collection[str]) -> Sessions:
        """Have the agents of sessions end whose orchestrators are dead."""
        done = Sessions(runs=[run.name for run in _children(self._state.runs)])
        there = [path for path in _children(self._work / "sessions") if path.name in sessions]
        ends = await asyncio.gather(*(_ended(session) for session in there))
        for session, has_ended in zip(there, ends, strict=True):
            (done.ended if has_ended else done.stuck).append(session.name)
        return done

    def reap(self, doomed: Collection[str]) -> Reaped:
        """Remove what died, and the runs `doomed` even if they are kept."""
        done = Reaped()
        for run in _children(self._work / "runs"):
            if run.name.endswith(REMOVED_SUFFIX):
                with _going_on(done.problems, run):
                    _remove(run)
            elif run.name in doomed or not is_kept(run):
                with _going_on(done.problems, run):
                    away = take_away(self._state, run)
                    if away is not None:
                        done.runs.append(run.name)
                        _remove(away)
        for session in _children(self._work / "sessions"):
            with _going_on(done.problems, session):
                if not _is_recent(session, YOUNG_SECS) and not is_held(session / LOCK):
                    remove_tree(session)
                    done.sessions.append(session.name)
        self._remove_half_made(done.problems)
        left = [run.name for run in _children(self._work / "runs")]
        done.left = [name for name in left if not name.endswith(REMOVED_SUFFIX)]
        return done

    def _remove_half_made(self, problems: list[str]) -> None:
        with _going_on(problems, self._state.snapshots):
            remove_stale_materialisations(self._work)
        with _going_on(problems, self._work / "guest-store"):
            remove_stale_views(self._state)
        for path in [*self._work.glob("agent/*.tmp-*"), *self._work.glob(".probe-*")]:
            with _going_on(problems, path):
                if not _is_recent(path):
                    _remove_any(path)

    async def collect(self, bounds: Bounds, *, dry_run: bool) -> Collected:
        """Remove what is beyond the bounds, or say what would go."""
        done = Collected()
        await asyncio.to_thread(self._collect_snapshots, bounds, done, dry_run=dry_run)
        try:
            done.views = await collect_views(self._state, dry_run=dry_run)
        except (InfrastructureError, OSError) as error:
            done.problems.append(f"the guests' store can't be collected: {error}")
        try:
            # A snapshot that couldn't be removed has its objects still.
            done.refs = (
                await unused_snapshots(self._work, self._needed(done.snapshots))
                if dry_run
                else await prune_repository(self._work, self._needed)
            )
        except (InfrastructureError, OSError) as error:
            done.problems.append(f"the repository can't be pruned: {error}")
        await asyncio.to_thread(self._collect_agents, bounds, done, dry_run=dry_run)
        return done

    def _collect_snapshots(self, bounds: Bounds, done: Collected, *, dry_run: bool) -> None:
        doomed = beyond(bounds, self._state.snapshots, self.leased())
        for snapshot, size in doomed:
            with _going_on(done.problems, snapshot):
                if dry_run or remove_snapshot(self._work, snapshot.name, self._is_needed):
                    done.snapshots.append(snapshot.name)
                    done.bytes += size
        done.kept = len(snapshots_in(self._state.snapshots)) - (len(doomed) if dry_run else 0)

    def _is_needed(self, snapshot: Path) -> bool:
        return _is_recent(snapshot) or snapshot.name in self.leased()

    def leased(self) -> set[str]:
        """The snapshots that runs need, those included that are still on their way."""
        found = set()
        for run in _children(self._state.runs):
            with suppress(OSError):
                found.add((run / SNAPSHOT).readlink().name)
        return found

    def _needed(self, gone: Collection[str] = ()) -> set[str]:
        there = {path.name for path in snapshots_in(self._state.snapshots)}
        return (there - set(gone)) | self.leased()

    def _collect_agents(self, bounds: Bounds, done: Collected, *, dry_run: bool) -> None:
        for home in _children(self._work / "agent"):
            with _going_on(done.problems, home):
                if _is_recent(home, max(RECENT_SECS, bounds.days * SECS_OF_DAY)):
                    continue
                with lock_directory(home) as unused:
                    if unused and ".tmp-" not in home.name:
                        done.agents.append(home.name)
                        if not dry_run:
                            gone = home.with_name(f"{home.name}.tmp-{os.urandom(4).hex()}")
                            home.rename(gone)
                            remove_tree(gone)


def snapshots_in(directory: Path) -> list[Path]:
    """The snapshots that are whole."""
    return [path for path in _children(directory) if not path.name.startswith(".")]


def beyond(bounds: Bounds, directory: Path, leased: Collection[str]) -> list[tuple[Path, int]]:
    """The snapshots to remove, the least recently used first, and the bytes that go with each.

    Those that are leased or were used lately stay and are counted before all others. Files that
    snapshots share are counted once.
    """
    now = time.time()
    rows = []
    for path in snapshots_in(directory):
        with suppress(FileNotFoundError):
            used = path.lstat().st_mtime
            rows.append((path.name in leased or used > now - RECENT_SECS, used, path))
    seen: set[tuple[int, int]] = set()
    total = 0
    doomed: list[tuple[Path, int]] = []
    for count, (stays, used, path) in enumerate(sorted(rows, reverse=True), 1):
        size = disk_bytes(path, seen)
        total += size
        fits = (
            count <= bounds.count
            and total <= bounds.mib * BYTES_OF_MIB
            and used > now - bounds.days * SECS_OF_DAY
        )
        if not stays and (doomed or not fits):
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


def is_kept(run: Path) -> bool:
    """Whether the directory of a run is kept for a look."""
    try:
        return float((run / KEPT).read_text()) > time.time()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False


def using(home: Path) -> AbstractContextManager[bool]:
    """Keep the directory that an agent was loaded from: it imports as it goes."""
    return lock_directory(home, shared=True, wait=True)


async def _ended(session: Path) -> bool:
    """Have the agent of a session end; whether it has, and its directory is gone."""
    with suppress(OSError):
        await asyncio.to_thread(_tell_to_end, session)
    end = time.monotonic() + AGENT_END_SECS
    while is_held(session / LOCK):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(LOOK_SECS)
    await asyncio.to_thread(remove_tree, session)
    return True


def _tell_to_end(session: Path) -> None:
    path = session / SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(AGENT_END_SECS)
        # A socket's path has 107 bytes at most, and an agent is in a directory beside it.
        link.connect(min(str(path), os.path.relpath(path), key=len))
        link.sendall(pack({"end": True}))


def _remove(run: Path) -> None:
    """Remove the directory of a run, and what it started and nobody ended."""
    end_recorded_groups(RunLayout(run).scratch)
    remove_tree(run)


def _remove_any(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def _is_recent(path: Path, secs: float = RECENT_SECS) -> bool:
    try:
        return path.lstat().st_mtime > time.time() - secs
    except FileNotFoundError:
        return False


@contextmanager
def _going_on(problems: list[str], what: Path) -> Iterator[None]:
    """Note an error: one damaged thing is no reason to leave the rest."""
    try:
        yield
    except OSError as error:
        problems.append(f"{what} can't be removed: {error.strerror or error}")
