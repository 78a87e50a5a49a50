"""Nested repositories (submodules, clones, linked work trees) as plain directories of a tree."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from jerichoci.snapshot.git import join_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jerichoci.snapshot.index import PrivateIndex


async def insert_submodules(index: PrivateIndex, nested: Mapping[str, str]) -> str:
    """Write the tree of `index` with each directory in `nested` (name to tree id) put into it."""
    whole = index.path.with_name(f"{index.path.name}.whole")
    if index.path.exists():
        shutil.copyfile(index.path, whole)
    else:
        whole.unlink(missing_ok=True)
    git = index.repository.with_index(whole)
    try:
        entries = [await _entries(index, name, tree) for name, tree in nested.items()]
        await git.out("update-index", "-z", "--index-info", stdin=b"".join(entries))
        return await git.line("write-tree")
    finally:
        whole.unlink(missing_ok=True)


async def _entries(index: PrivateIndex, name: str, tree: str) -> bytes:
    listed = await index.repository.git.names("ls-tree", "-r", "-z", tree)
    return join_names(entry.replace("\t", f"\t{name}/", 1) for entry in listed)
