"""Who owns a run: the process that holds the flock on its `owner.lock`.

The lock lives and dies with the process, however that ends. It is taken before the run directory
gets its name, so that a run directory whose lock is free and whose run.json isn't terminal belongs
to a process that died. The descriptor is close-on-exec: no child can keep a dead run alive.

Run directories get and lose their names under `slots/runs.lock`: held shared, one is created and
named; held exclusively, one is taken away. So a run directory that has no owner yet is not taken
away.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import REMOVED_SUFFIX, StateLayout
from jerichoci.state.lock import POLL_SECS, is_held, try_flock, try_lock
from jerichoci.state.reading import read_object
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_NAME = "owner.lock"
PROBE_SECS = 0.01
"""Longer than a process holds the lock that only asks whether it is free."""
PROBES = 5
MOST_PIDS = 2**31
"""No system counts processes further."""
PS_SECS = 10.0
"""It asks the kernel, and prints a line."""
NAMES_WAIT_SECS = 30.0
"""Names are given and taken in milliseconds, or as fast as a busy disk takes a few records."""


@dataclass(frozen=True)
class Owner:
    """The process that runs a run: its pid and its start time as the system tells it."""

    pid: int
    started: str | None

    @classmethod
    def read(cls, note: Path) -> Owner | None:
        """The process that a note names; None if it names none that could be signalled."""
        try:
            values = read_object(note)
        except (OSError, ValueError):
            return None
        pid, started = values.get("pid"), values.get("started")
        if type(pid) is not int or not 1 < pid < MOST_PIDS:
            return None
        return cls(pid, started) if started is None or isinstance(started, str) else None

    def is_alive(self) -> bool:
        """Whether that very process, not a later one with its pid, still exists."""
        return process_start(self.pid) == self.started if self.started else _exists(self.pid)


def process_start(pid: int) -> str | None:
    """When process `pid` started, in the system's unit; None if unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return _told_by_ps(pid) if sys.platform == "darwin" else None
    return fields[19].decode()


def _told_by_ps(pid: int) -> str | None:
    import subprocess

    # The same words in sessions of every language.
    argv, env = ["/bin/ps", "-o", "lstart=", "-p", str(pid)], {"LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(argv, env=env, capture_output=True, check=False, timeout=PS_SECS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("ascii", "replace").strip() or None


@contextmanager
def holding_names(state: StateLayout, *, shared: bool = False) -> Iterator[bool]:
    """Hold the names of run directories, `shared` to give one; False if it can't be had in time."""
    end = time.monotonic() + NAMES_WAIT_SECS
    while True:
        with try_lock(state.slots / "runs.lock", shared=shared) as held:
            if held or time.monotonic() > end:
                yield held
                return
        time.sleep(POLL_SECS)


@contextmanager
def owning(run_dir: Path) -> Iterator[None]:
    """Hold the owner lock of `run_dir`, naming this process in it."""
    fd = os.open(run_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(fd)
        me = {"pid": os.getpid(), "started": process_start(os.getpid())}
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(me).encode(), 0)
        yield
    finally:
        os.close(fd)


def _take(fd: int) -> None:
    # `is_owned` holds the lock for an instant, which is no reason to give up.
    for _ in range(PROBES):
        if try_flock(fd):
            return
        time.sleep(PROBE_SECS)
    raise BlockingIOError(errno.EWOULDBLOCK, "the run has another owner")


def is_owned(run_dir: Path) -> bool:
    """Whether a living process holds the run's lock."""
    return is_held(run_dir / LOCK_NAME)


def take_away(state: StateLayout, run_dir: Path) -> Path | None:
    """Take a run directory, half-made or whole, its name; where it is now.

    None if it is owned or gone. Its new name says that it isn't needed.
    """
    away = run_dir.with_name(f"{run_dir.name}.{os.urandom(4).hex()}{REMOVED_SUFFIX}")
    with holding_names(state) as held:
        if not held or is_owned(run_dir):
            return None
        try:
            run_dir.rename(away)
        except FileNotFoundError:
            return None
    return away


def remove_unowned(state: StateLayout, run_dir: Path) -> bool:
    """Remove a run directory, half-made or whole; False if it is owned or gone."""
    away = take_away(state, run_dir)
    if away is None:
        return False
    remove_tree(away)
    return True


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
