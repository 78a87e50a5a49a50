"""Finds all secrets of runs before any of them begins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine.glob import compile_globs
from jerichoci.secrets.sources import MissingSecretError, Sources
from jerichoci.snapshot.repository import open_repository

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from jerichoci.plan.plan import ExecuteNode
    from jerichoci.plan.secrets import Secret


def is_for(secret: Secret, branch: str | None) -> bool:
    """Whether a run of this branch has the secret; one for certain branches needs to know it."""
    if not secret.branches:
        return True
    return branch is not None and compile_globs(secret.branches).match(branch) is not None


async def find_secrets(
    state_root: Path, tree: str, nodes: Iterable[ExecuteNode], branch: str | None
) -> Mapping[str, Mapping[str, bytes]]:
    """The values for each job that asks for some, by its node and their names.

    Raises:
        UsageError: one is missing.
    """

    async def read_tree(path: str) -> bytes:
        try:
            repository = await open_repository(state_root)
            return await repository.git.out("cat-file", "blob", f"{tree}:{path}")
        except InfrastructureError:
            raise MissingSecretError(f"the source tree has no file {path}") from None

    sources = Sources(os.environ, read_tree)
    known: dict[tuple[str | None, ...], bytes] = {}
    found: dict[str, dict[str, bytes]] = {}
    for node in nodes:
        for secret in node.execute.secrets:
            if not is_for(secret, branch):
                continue
            key = (secret.kind, secret.value, secret.identity, secret.key)
            if key not in known:
                known[key] = await sources.find(node.job_id, secret)
            found.setdefault(node.id, {})[secret.name] = known[key]
    return found
