"""What the process that starts jobs is told of one: see `starting` and `job_init`.

It imports little, for it is waited for by the first job.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypedDict

    class Start(TypedDict):
        """What a job is started with; paths are relative to the directory it is started in."""

        way: str
        """`root`, `user`: with namespaces; `group`: without."""
        entered: str
        """A mount namespace that there is, or empty."""
        own_network: bool
        kind: str
        """Of the workspace: `overlay`, `read_only` or `copy`."""
        snapshot: str
        workspace: str
        overlay_options: str
        setup: Sequence[str]
        """A command that sets up the rest of the job's world, in its namespaces; or nothing."""
        setup_env: Mapping[str, str]
        program: Sequence[str]
        env: Mapping[str, str]
        groups: Sequence[str]
        """The files that put a process into the job's control groups."""


HEAD_BYTES = 4
"""Of a message's length, before the message."""
REPORT, GIVEN = 3, 4
"""Descriptors of a job's first process: what `ending.Report` reads, what its setup is given."""
