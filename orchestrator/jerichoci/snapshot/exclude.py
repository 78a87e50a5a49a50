"""Derived trees: a snapshot without the files that `snapshot.exclude` names."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from jerichoci.snapshot.git import REMOVED
from jerichoci.snapshot.repository import DERIVED_REFS, REPOSITORY_WAIT_SECS, Repository
from jerichoci.state.lock import lock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


async def without_excluded(
    repository: Repository, tree: str, excludes: Sequence[str], matches: Callable[[str], bool]
) -> str:
    """The snapshot `tree` without the files whose names match; kept as a snapshot of its own.

    `excludes` are the globs that `matches` stands for: the same globs give the same answer again
    without asking it. Names are as git prints them, bytes that aren't UTF-8 surrogate-escaped.
    """
    if not excludes:
        return tree
    globs = hashlib.sha256(json.dumps(list(excludes)).encode()).hexdigest()
    ref = f"{DERIVED_REFS}/{tree}/{globs}"
    async with lock(repository.use_lock, REPOSITORY_WAIT_SECS, shared=True):
        found = await repository.git.run("rev-parse", "--quiet", "--verify", f"{ref}^{{tree}}")
        derived = found.stdout.decode().strip() or await _without(repository, tree, matches)
        commit = repository.commit_of(derived) or await repository.keep(derived)
        if not found.ok:
            await repository.git.out("update-ref", ref, commit)
    return derived


async def _without(repository: Repository, tree: str, matches: Callable[[str], bool]) -> str:
    names = await repository.git.names("ls-tree", "-r", "-z", "--name-only", tree)
    removed = [name for name in names if matches(name)]
    if not removed:
        return tree
    return await repository.edit_tree(tree, (f"{REMOVED}\t{name}" for name in removed))
