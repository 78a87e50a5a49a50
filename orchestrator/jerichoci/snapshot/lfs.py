"""Git LFS: a file whose content was never fetched would give jobs a pointer in its place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.snapshot.git import Git, join_names, split_names
from jerichoci.state.reading import open_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jerichoci.snapshot.repository import Repository
    from jerichoci.snapshot.work_tree import WorkTree

POINTER = b"version https://git-lfs.github.com/spec/v1\n"
POINTER_LIMIT = 1024
"""Bytes; the specification keeps every pointer below."""


async def unfetched(
    repository: Repository, tree: WorkTree, snapshot: str, earlier: tuple[str, list[str]] | None
) -> list[str]:
    """Names in `snapshot` that are LFS pointers where attributes ask for content, sorted.

    `earlier` is a tree with its pointers; only those and what differs from it are looked at.
    """
    pointers = None
    if earlier is not None:
        pointers = await _changed_pointers(repository, tree, snapshot, *earlier)
    if pointers is None:
        pointers = await _all_pointers(repository, snapshot)
    return sorted(await _filtered(tree, pointers)) if pointers else []


async def _changed_pointers(
    repository: Repository, tree: WorkTree, snapshot: str, earlier: str, pointers: list[str]
) -> list[str] | None:
    names = await repository.git.names(
        *("diff-tree", "-r", "-z", "--name-only", "--no-renames", earlier, snapshot)
    )
    if any(name.rpartition("/")[2] == ".gitattributes" for name in names):
        return None
    return [name for name in {*names, *pointers} if _is_pointer(tree.path(name))]


def _is_pointer(path: str) -> bool:
    try:
        with os.fdopen(open_file(path, os.O_NOFOLLOW), "rb") as file:
            start = file.read(POINTER_LIMIT)
    except OSError:
        return False
    return start.startswith(POINTER) and len(start) < POINTER_LIMIT


async def _all_pointers(repository: Repository, snapshot: str) -> list[str]:
    grep = ("grep", "-z", "-l", "--no-color")
    attributes = ("-F", "-e", "filter=lfs", snapshot, "--", ":(glob)**/.gitattributes")
    if not await repository.git.found(*grep, *attributes):
        return []
    found = await repository.git.found(*grep, "-e", f"^{POINTER.decode().strip()}$", snapshot)
    return [name.removeprefix(f"{snapshot}:") for name in split_names(found)]


async def _filtered(tree: WorkTree, names: Iterable[str]) -> list[str]:
    """Those of `names` that .gitattributes gives to LFS."""
    if tree.git is not None:
        return await _with_lfs_filter(tree.git, names)
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pikaci-attributes-") as made:
        # The private repository overrides attributes; one without a word of its own doesn't.
        git = Git(cwd=tree.root, git_dir=Path(made), work_tree=tree.root)
        await Git(git.cwd, git.git_dir).out("init", "--quiet", "--bare", "--template=", made)
        return await _with_lfs_filter(git, names)


async def _with_lfs_filter(git: Git, names: Iterable[str]) -> list[str]:
    answer = await git.names("check-attr", "-z", "--stdin", "filter", stdin=join_names(names))
    return [name for name, value in zip(answer[::3], answer[2::3], strict=True) if value == "lfs"]
