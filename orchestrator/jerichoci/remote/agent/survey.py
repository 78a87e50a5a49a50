"""What a host is and has."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jerichoci.machine import slots
from jerichoci.nix import command as nix
from jerichoci.remote.agent.host_gc import disk_bytes, snapshots_in
from jerichoci.snapshot.git import version_argv
from jerichoci.state.layout import StateLayout
from jerichoci.state.owner import is_owned

if TYPE_CHECKING:
    from pathlib import Path

COUNT_SECS = 3.0
"""Snapshots are counted for so long, and then no further."""


def needed_programs() -> dict[str, str | None]:
    """What no job can do without: git's version, where bash is; None for what isn't there."""
    return {"bash": shutil.which("bash"), "git": _git_version()}


def _git_version() -> str | None:
    try:
        done = subprocess.run(
            version_argv(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return None
    found = re.search(rb"(\d+\.\d+\S*)", done.stdout)
    return found[1].decode("ascii", "replace") if found else "unknown"


async def survey(work: Path, *, ask_nix: bool) -> dict[str, Any]:
    """All of it; what takes a while is left out when it has taken a while."""
    capacity = slots.local_capacity()
    disk = os.statvfs(work)
    state = StateLayout(work)
    names = ("unshare", "setpriv")
    return {
        "cpus": capacity.cpus,
        "memory_mib": capacity.memory_mib,
        "free_bytes": disk.f_bavail * disk.f_frsize,
        "free_files": disk.f_favail if disk.f_files else None,
        "programs": {name: shutil.which(name) for name in names},
        "runs": _live_runs(state),
        "snapshots": await asyncio.to_thread(_snapshots, state),
        "store": vars(await nix.ask_store()) if ask_nix else None,
    }


def _live_runs(state: StateLayout) -> list[str]:
    live = []
    with suppress(FileNotFoundError):
        for run in sorted(state.runs.iterdir()):
            with suppress(OSError):
                if is_owned(run):
                    live.append(run.name)
    return live


def _snapshots(state: StateLayout) -> dict[str, Any]:
    end = time.monotonic() + COUNT_SECS
    seen: set[tuple[int, int]] = set()
    total = counted = 0
    found = snapshots_in(state.snapshots)
    for snapshot in found:
        if time.monotonic() > end:
            break
        total += disk_bytes(snapshot, seen)
        counted += 1
    return {"count": len(found), "counted": counted, "bytes": total}
