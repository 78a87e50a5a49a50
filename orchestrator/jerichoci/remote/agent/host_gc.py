"""Removing from a host's work directory what isn't needed any more, whichever state root made it.

- `reap` removes what died: the directories of runs that no session holds and that aren't kept,
  with the processes noted there; sessions without an agent; what was half made.
- `collect` removes what was only kept for later, beyond bounds: snapshots, the least recently used
  first; the git objects, views of the guests' store and agents that are unused.

A run that is needed has an owner or is kept, and its directory has a link to the snapshot that it
needs. An agent holds a lock on the directory that it was loaded from.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine.process import end_recorded_groups
from jerichoci.placement.host_gc import (
    SECS_OF_DAY,
    Bounds,
    Collected,
    Collector,
    children,
    is_recent,
    noting,
)
from jerichoci.remote.agent.frame import pack
from jerichoci.remote.agent.rendezvous import LOCK, SOCKET
from jerichoci.snapshot.repository import RECENT_SECS
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import REMOVED_SUFFIX, RunLayout, StateLayout
from jerichoci.state.lock import is_held, lock_directory
from jerichoci.state.owner import take_away
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Collection
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


class HostCollector(Collector):
    """Cleans a work directory, whichever state roots use it."""

    def __init__(self, work: Path) -> None:
        super().__init__(work, partial(leased_snapshots, work))

    @property
    def _runs(self) -> Path:
        return StateLayout(self.root).runs

    async def end_sessions(self, sessions: Collection[str]) -> Sessions:
        """Have the agents of sessions end whose orchestrators are dead."""
        done = Sessions(runs=[run.name for run in children(self._runs)])
        there = [path for path in children(self.root / "sessions") if path.name in sessions]
        ends = await asyncio.gather(*(_ended(session) for session in there))
        for session, has_ended in zip(there, ends, strict=True):
            (done.ended if has_ended else done.stuck).append(session.name)
        return done

    def reap(self, doomed: Collection[str]) -> Reaped:
        """Remove what died, and the runs `doomed` even if they are kept."""
        done = Reaped()
        for run in children(self.root / "runs"):
            if run.name.endswith(REMOVED_SUFFIX):
                with noting(done.problems, run):
                    _remove(run)
            elif run.name in doomed or not is_kept(run):
                with noting(done.problems, run):
                    away = take_away(StateLayout(self.root), run)
                    if away is not None:
                        done.runs.append(run.name)
                        _remove(away)
        for session in children(self.root / "sessions"):
            with noting(done.problems, session):
                if not is_recent(session, YOUNG_SECS) and not is_held(session / LOCK):
                    remove_tree(session)
                    done.sessions.append(session.name)
        self.remove_half_made(done.problems)
        left = [run.name for run in children(self.root / "runs")]
        done.left = [name for name in left if not name.endswith(REMOVED_SUFFIX)]
        return done

    def remove_half_made(self, problems: list[str]) -> None:
        """Likewise, with agents that were half brought."""
        super().remove_half_made(problems)
        for path in [*self.root.glob("agent/*.tmp-*"), *self.root.glob(".probe-*")]:
            with noting(problems, path):
                if not is_recent(path):
                    _remove_any(path)

    async def collect(self, bounds: Bounds, *, dry_run: bool) -> Collected:
        """Remove what is beyond the bounds, or only name it."""
        done = Collected()
        await asyncio.to_thread(self.snapshots, bounds, done, dry_run=dry_run)
        await self.views(done, dry_run=dry_run)
        await asyncio.to_thread(self.caches, done, dry_run=dry_run)
        try:
            await self.refs(done, dry_run=dry_run)
        except (InfrastructureError, OSError) as error:
            done.problems.append(f"the repository can't be pruned: {error}")
        await asyncio.to_thread(self._collect_agents, bounds, done, dry_run=dry_run)
        return done

    def _collect_agents(self, bounds: Bounds, done: Collected, *, dry_run: bool) -> None:
        for home in children(self.root / "agent"):
            with noting(done.problems, home):
                if is_recent(home, max(RECENT_SECS, bounds.days * SECS_OF_DAY)):
                    continue
                with lock_directory(home) as unused:
                    if unused and ".tmp-" not in home.name:
                        done.agents.append(home.name)
                        if not dry_run:
                            gone = home.with_name(f"{home.name}.tmp-{os.urandom(4).hex()}")
                            home.rename(gone)
                            remove_tree(gone)


def leased_snapshots(work: Path) -> set[str]:
    """The snapshots that runs need, those included that are still on their way."""
    found = set()
    for run in children(StateLayout(work).runs):
        with suppress(OSError):
            found.add((run / SNAPSHOT).readlink().name)
    return found


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
    """Remove the directory of a run, and end what it started."""
    end_recorded_groups(RunLayout(run).scratch)
    remove_tree(run)


def _remove_any(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)
