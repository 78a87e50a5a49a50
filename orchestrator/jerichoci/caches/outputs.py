"""What host commands left in earlier runs: `hostCommand.inputs`.

An entry is keyed by the files that match `inputs`, by the command, its outputs and its environment.
A run gets a copy of its own, so that no job can change what later runs get.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from jerichoci.caches.files import digest_of, list_files, matching
from jerichoci.machine.cache_store import PREPARES
from jerichoci.placement import Placement, operations
from jerichoci.snapshot.repository import Repository
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import owner_part
from jerichoci.status import CacheUse

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.plan.plan import HostCommand
    from jerichoci.state.layout import StateLayout


@dataclass(frozen=True)
class OutputsCache:
    """The cache of one host command on its host."""

    placement: Placement
    scope: str
    name: str
    key: str
    use: CacheUse

    async def restore(self, out: Path) -> bool:
        """Have in `out`, which is empty, what the command left; False if that isn't known."""
        return await self.placement.do(
            operations.restore_output, self.scope, self.name, self.key, out
        )

    async def publish(self, out: Path, run_id: str) -> None:
        """Keep what the command left for later runs."""
        if self.use is CacheUse.WRITE:
            await self.placement.do(
                operations.keep_output, self.scope, self.name, self.key, out, run_id
            )


async def outputs_cache(  # noqa: PLR0913, PLR0917 - what a key is made of, and where
    state: StateLayout,
    tree: str,
    name: str,
    spec: HostCommand,
    placement: Placement,
    use: CacheUse,
) -> OutputsCache | None:
    """The cache of a command, if it is made of any file of the snapshot's tree."""
    files = matching(await list_files(Repository.at(state.root), tree), spec.inputs)
    if not files:
        return None
    made_of = {
        "files": digest_of(files),
        "command": spec.command,
        "outputs": spec.outputs,
        "environment": {**placement.environment, "PATH": placement.job_path},
    }
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    scope = f"{owner_part(state.owner_id())}{PREPARES}"
    return OutputsCache(placement, scope, name, key, use)
