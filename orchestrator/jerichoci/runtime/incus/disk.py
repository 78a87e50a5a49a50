"""Whether containers can have directories of a host, which depends on the file system."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.machine import idmap

if TYPE_CHECKING:
    from jerichoci.placement import Placement
    from jerichoci.runtime.incus.rules import Needs

PROBE_SECS = 30.0
SHIFTS = frozenset({"ext2/ext3", "xfs", "btrfs"})
"""File systems, by their names in stat(1), that every kernel which runs Incus can shift."""
NEVER = frozenset({"overlayfs", "nfs", "v9fs", "cifs", "smb2", "ecryptfs"})
"""File systems that can't be shifted; looked up where only root may try."""


async def check_disk(placement: Placement, needs: Needs) -> None:
    """Refuse guests that can't have directories of a host."""
    kind = await _unshifted(placement) if "container" in needs.kinds else None
    if kind is None:
        return
    if placement.is_remote:
        where, what = f"the work directory of {placement.host}", "set its `work_dir` in hosts.toml"
    else:
        where, what = "the state root", "pass `--state-root`"
    raise UsageError(
        f"containers can't have directories of {where}: {placement.state_root} is on {kind},"
        " which can't be mounted with other owners",
        f"have it on ext4, xfs or btrfs ({what}), or use an image for virtual machines",
    )


async def _unshifted(placement: Placement) -> str | None:
    """The file system of a host's snapshots, if containers can't mount them."""
    where = str(placement.state_root)
    kind = await _output(placement, "stat", "-f", "-c", "%T", where)
    if not kind or kind in SHIFTS:
        return None
    python = "python3" if placement.is_remote else sys.executable
    program = Path(idmap.__file__).read_text(encoding="utf-8")
    tried = await placement.run([python, "-ISc", program, where], deadline_secs=PROBE_SECS)
    if tried.exit_code == idmap.CANNOT or (not tried.ok and kind in NEVER):
        return kind
    return None


async def _output(placement: Placement, *argv: str) -> str:
    try:
        done = await placement.run(argv, deadline_secs=PROBE_SECS)
    except InfrastructureError:
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.ok else ""
