"""What a host is and has."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path  # noqa: TC003 - the welcome is read by these annotations

from jerichoci.machine import slots
from jerichoci.nix import command as nix
from jerichoci.placement.host_gc import disk_bytes, snapshots_in
from jerichoci.snapshot.git import VERSION_ARGV
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import StateLayout
from jerichoci.state.owner import is_owned

COUNT_SECS = 3.0
"""Snapshots are counted for so long, and then no further."""


@dataclass(frozen=True)
class Programs:
    """What no job can do without: where bash is, git's version; None for what isn't there."""

    bash: str | None
    git: str | None


@dataclass(frozen=True)
class HostFacts:
    """A host, and the user that the agent runs as."""

    boot_id: str | None
    """Another one after each boot."""
    work_dir: Path
    system: str
    uid: int
    gid: int
    python: str
    environment: dict[str, str]
    """What passes from the agent's environment to jobs."""
    job_path: str
    programs: Programs


@dataclass(frozen=True)
class SnapshotCount:
    """How many snapshots there are, and the bytes on disk of as many as were counted."""

    count: int
    counted: int
    bytes: int


@dataclass(frozen=True)
class Survey:
    """What a host is and has."""

    cpus: int
    memory_mib: int
    free_bytes: int
    free_files: int | None
    programs: dict[str, str | None]
    runs: list[str]
    snapshots: SnapshotCount
    store: nix.Store | None


def needed_programs() -> Programs:
    """What no job can do without."""
    return Programs(bash=shutil.which("bash"), git=_git_version())


def _git_version() -> str | None:
    try:
        done = subprocess.run(
            VERSION_ARGV,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return None
    found = re.search(rb"(\d+\.\d+\S*)", done.stdout)
    return found[1].decode("ascii", "replace") if found else "unknown"


async def survey(work: Path, *, ask_nix: bool) -> Survey:
    """All of it; what takes a while is left out when it has taken a while."""
    capacity = slots.local_capacity()
    disk = os.statvfs(work)
    state = StateLayout(work)
    names = ("unshare", "setpriv")
    return Survey(
        cpus=capacity.cpus,
        memory_mib=capacity.memory_mib,
        free_bytes=disk.f_bavail * disk.f_frsize,
        free_files=disk.f_favail if disk.f_files else None,
        programs={name: shutil.which(name) for name in names},
        runs=_live_runs(state),
        snapshots=await asyncio.to_thread(_snapshots, state),
        store=await nix.ask_store() if ask_nix else None,
    )


def _live_runs(state: StateLayout) -> list[str]:
    live = []
    with suppress(FileNotFoundError):
        for run in sorted(state.runs.iterdir()):
            with suppress(OSError):
                if is_owned(run):
                    live.append(run.name)
    return live


def _snapshots(state: StateLayout) -> SnapshotCount:
    end = time.monotonic() + COUNT_SECS
    seen: set[tuple[int, int]] = set()
    total = counted = 0
    found = snapshots_in(state.snapshots)
    for snapshot in found:
        if time.monotonic() > end:
            break
        total += disk_bytes(snapshot, seen)
        counted += 1
    return SnapshotCount(len(found), counted, total)
