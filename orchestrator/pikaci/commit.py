"""A commit of a repository on this machine as a snapshot, without checking it out.

A snapshot has the bytes of the blobs, so its tree is the commit's, as an index would write it. Not
so where files come from elsewhere: submodules, LFS. Those commits are checked out, as those of
another machine are, and so are those of a SHA-256 repository.
"""

from __future__ import annotations

import os
import secrets
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from jerichoci.machine.gather import together
from jerichoci.snapshot.git import GITLINK_MODE, Git, with_objects
from jerichoci.snapshot.repository import (
    INDEX_PREFIX,
    REPOSITORY_WAIT_SECS,
    open_repository,
    snapshot_ref,
)
from jerichoci.snapshot.snapshot import SHA1_LENGTH, Snapshot
from jerichoci.state.lock import lock

if TYPE_CHECKING:
    from jerichoci.snapshot.repository import Repository

BORROWED_FROM = 3
"""Snapshots that a new one is likely to share most of its objects with."""
MOST_LOOSE = 1000
"""Objects that are kept one by one: git looks into each pack for each object."""


def local_repository(url: str) -> Path | None:
    """The repository on this machine that a source's URL names, if it does."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    return path if parts.scheme == "file" and path.is_dir() else None


async def snapshot_of_commit(state_root: Path, repo: Path, rev: str) -> Snapshot | None:
    """The snapshot of a commit; None if that takes a fetch, which says what is wrong, too."""
    if len(rev) != SHA1_LENGTH:
        return None
    # As a fetch has it: no repository above, and objects without what replaces them here.
    above = os.path.realpath(repo.parent)
    git = Git(repo, extra={"GIT_CEILING_DIRECTORIES": above, "GIT_NO_REPLACE_OBJECTS": "1"})
    found = await git.run("rev-parse", f"{rev}^{{commit}}", f"{rev}^{{tree}}")
    commit_and_tree = found.stdout.decode().split()
    if not found.ok or commit_and_tree[0] != rev:
        return None
    tree = commit_and_tree[1]
    repository = await open_repository(state_root)
    async with lock(repository.use_lock, REPOSITORY_WAIT_SECS, shared=True):
        commit = known = repository.commit_of(tree)
        if commit is None:
            has_submodules, has_lfs, _ = await together(
                _has_submodules(git, tree), _has_lfs(git, tree), _copy(repository, git, tree)
            )
            if has_submodules or has_lfs:
                return None
            tree = await _as_an_index_has_it(repository, tree)
            known = repository.commit_of(tree)
            commit = known or await repository.keep(tree)
    return Snapshot(
        tree=tree,
        commit=commit,
        ref=snapshot_ref(tree),
        source_root=repo,
        git_head=rev,
        git_dirty=False,
        created=known is None,
    )


async def _as_an_index_has_it(repository: Repository, tree: str) -> str:
    """The tree that a checkout would be: old commits have modes that git writes no more."""
    index = repository.path / f"{INDEX_PREFIX}commit-{secrets.token_hex(8)}"
    git = replace(repository.git, index=index)
    try:
        # With a prefix, if an empty one, git does not take the tree's id over as it is.
        await git.out("read-tree", "-i", "--prefix=", tree)
        return await git.line("write-tree")
    finally:
        index.unlink(missing_ok=True)


async def _has_submodules(git: Git, tree: str) -> bool:
    entries = await git.names("ls-tree", "-r", "-z", tree)
    return any(entry.startswith(GITLINK_MODE) for entry in entries)


async def _has_lfs(git: Git, tree: str) -> bool:
    attributes = ":(glob)**/.gitattributes"
    return bool(await git.found("grep", "-l", "-F", "filter=lfs", tree, "--", attributes))


async def _copy(repository: Repository, git: Git, tree: str) -> None:
    """Copy the objects of a tree that the snapshots of late have not."""
    objects = await git.line("rev-parse", "--path-format=absolute", "--git-path", "objects")
    both = replace(repository.git, extra=with_objects(objects))
    have = "".join(f"^{each}\n" for each in repository.latest(BORROWED_FROM))
    # Of what a killed process left by this name, the next pruning removes all.
    base = repository.path / f"{INDEX_PREFIX}pack-{secrets.token_hex(8)}"
    argv = ("pack-objects", "--revs", "--quiet", "--non-empty", str(base))
    try:
        name = await both.line(*argv, stdin=f"{tree}\n{have}".encode())
        if name:
            await _take(repository, base.with_name(f"{base.name}-{name}"), name)
    finally:
        for path in repository.path.glob(f"{base.name}*"):
            path.unlink()


async def _take(repository: Repository, made: Path, name: str) -> None:
    """Take a pack into the repository, or its objects if they are few."""
    pack = made.with_name(f"{made.name}.pack")
    with pack.open("rb") as file:
        (count,) = struct.unpack(">8xI", file.read(12))
    if count <= MOST_LOOSE:
        await repository.git.out("unpack-objects", "-q", stdin=pack.read_bytes())
        return
    home = repository.path / "objects" / "pack"
    home.mkdir(exist_ok=True)
    # The index comes last: it is what makes a pack one.
    for suffix in ("pack", "rev", "idx"):
        part = made.with_name(f"{made.name}.{suffix}")
        if part.exists():
            part.rename(home / f"pack-{name}.{suffix}")
