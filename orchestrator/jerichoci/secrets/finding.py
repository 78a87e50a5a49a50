"""Finds all secrets of runs before any of them begins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine.glob import compile_globs
from jerichoci.plan.hosts import load_hosts
from jerichoci.secrets.sources import MissingSecretError, Sources
from jerichoci.snapshot.repository import open_repository

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from jerichoci.plan.plan import ExecuteNode
    from jerichoci.plan.secrets import Secret


def is_for(secret: Secret, branch: str | None) -> bool:
    """Whether a run of this branch has the secret; one for certain branches needs to know it."""
    return not secret.branches or _is_one_of(branch, secret.branches)


def _is_one_of(branch: str | None, globs: Sequence[str]) -> bool:
    return branch is not None and compile_globs(globs).match(branch) is not None


async def find_secrets(
    state_root: Path, tree: str, nodes: Iterable[ExecuteNode], branch: str | None
) -> Mapping[str, Mapping[str, bytes]]:
    """The values for each job that asks for some, by its node and their names.

    The hosts file may keep all of them from other branches, whatever their catalogs say.

    Raises:
        UsageError: one is missing.
    """

    async def read_tree(path: str) -> bytes:
        try:
            repository = await open_repository(state_root)
            return await repository.git.out("cat-file", "blob", f"{tree}:{path}")
        except InfrastructureError:
            raise MissingSecretError(f"the source tree has no file {path}") from None

    here = load_hosts().local.secret_branches
    if here is not None and not _is_one_of(branch, here):
        return {}
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
