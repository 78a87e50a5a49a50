"""A job's private, writable view of an immutable snapshot.

An overlay where the kernel mounts one for us: it costs nothing per file, lives in the job's own
mount namespace and is gone with it. Elsewhere a copy, by reflink where the file system can.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from jerichoci.state.layout import Layout, Named

if TYPE_CHECKING:
    from pathlib import Path


class Workspace(Layout):
    """The directories behind one workspace, all below `root`, which is its own."""

    mount = Named("workspace")
    """Where the job works."""
    upper = Named("upper")
    """What an overlay has changed."""
    work = Named("work")
    """The overlay's own."""

    def make(self) -> None:
        self.root.mkdir(mode=0o700, parents=True)
        for directory in (self.mount, self.upper, self.work):
            directory.mkdir(mode=0o755)


def copy_argv(snapshot: Path, into: Path) -> list[str]:
    """The command that copies a snapshot's content, sharing blocks where it can."""
    sharing = (
        ["-Rpc"]
        if sys.platform == "darwin"
        else ["-a", "--no-preserve=ownership", "--reflink=auto"]
    )
    return ["cp", *sharing, f"{snapshot}/.", str(into)]
