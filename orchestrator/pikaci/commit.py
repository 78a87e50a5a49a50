"""A commit of a repository on this machine as a snapshot, without checking it out.

A snapshot has the bytes of the blobs, so its tree is the commit's. Not so where files come from
elsewhere: submodules, LFS. Those are checked out, as a commit of another machine is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from jerichoci.errors import UsageError
from jerichoci.snapshot.git import GITLINK_MODE, Git, with_objects
from jerichoci.snapshot.repository import REPOSITORY_WAIT_SECS, open_repository, snapshot_ref
from jerichoci.snapshot.snapshot import SHA1_LENGTH, Snapshot
from jerichoci.state.lock import lock

if TYPE_CHECKING:
    from jerichoci.snapshot.repository import Repository

BORROWED_FROM = 3
"""Snapshots that a new one is likely to share most of its objects with."""


def local_repository(url: str) -> Path | None:
    """The repository on this machine that a source's URL names, if it does."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    return path if parts.scheme == "file" and path.is_dir() else None


async def snapshot_of_commit(state_root: Path, repo: Path, rev: str) -> Snapshot | None:
    """The snapshot of a commit; None if that takes a checkout.

    Raises:
        UsageError: there is no such commit.
    """
    git = Git(cwd=repo)
    if len(rev) != SHA1_LENGTH:
        return None
    found = await git.run("rev-parse", "--verify", "--quiet", f"{rev}^{{tree}}")
    if not found.ok:
        return None  # the fetch says what is wrong
    if (await git.line("rev-parse", rev + "^{}")) != rev:
        raise UsageError(f"{rev} is a tag, not a commit")
    tree = found.stdout.decode().strip()
    repository = await open_repository(state_root)
    async with lock(repository.use_lock, REPOSITORY_WAIT_SECS, shared=True):
        commit = known = repository.commit_of(tree)
        if commit is None:
            if await _has_more(git, tree):
                return None
            await _copy(repository, git, tree)
            commit = await repository.keep(tree)
    return Snapshot(
        tree=tree,
        commit=commit,
        ref=snapshot_ref(tree),
        source_root=repo,
        git_head=rev,
        git_dirty=False,
        created=known is None,
    )


async def _has_more(git: Git, tree: str) -> bool:
    """Whether a checkout has files that the tree has not."""
    entries = await git.names("ls-tree", "-r", "-z", tree)
    if any(entry.startswith(GITLINK_MODE) for entry in entries):
        return True
    attributes = ":(glob)**/.gitattributes"
    return (await git.run("grep", "-q", "-F", "filter=lfs", tree, "--", attributes)).ok


async def _copy(repository: Repository, git: Git, tree: str) -> None:
    objects = await git.line("rev-parse", "--path-format=absolute", "--git-path", "objects")
    both = replace(repository.git, extra=with_objects(objects))
    have = "".join(f"^{each}\n" for each in repository.latest(BORROWED_FROM))
    pack = repository.path / "objects" / "pack" / "pack"
    argv = ("pack-objects", "--revs", "--quiet", "--non-empty", str(pack))
    await both.out(*argv, stdin=f"{tree}\n{have}".encode())
