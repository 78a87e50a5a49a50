"""The private repository of a state root, which owns every object of its snapshots.

- Bare, at `<state_root>/git`, made whole under a lock and renamed into place.
- Attributes that would change bytes on the way in or out are switched off, so a tree has exactly
  the bytes of the files.
- A snapshot is a parentless commit whose author, date and message are fixed: its id follows from
  its tree. `refs/pikaci/<tree>` keeps it; that ref's file is touched when it is used again.
- It borrows nothing: no alternates, no grafts, no shallow boundary.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from jerichoci.snapshot.git import Git, join_names
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import unwritable
from jerichoci.state.lock import lock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

REPOSITORY_WAIT_SECS = 600.0
"""Another process makes the repository in milliseconds, or prunes it in minutes."""
RECENT_SECS = 3600.0
"""A ref used this recently may belong to a run that has no record yet."""

SNAPSHOT_REFS = "refs/pikaci"
DERIVED_REFS = "refs/pikaci-derived"
INDEX_PREFIX = "pikaci-index-"
"""Of every index in the git directory, with what lies beside it; none outlives a pruning."""

# Any value but "unspecified" of working-tree-encoding is a setting or an error.
ATTRIBUTES = "* -text -filter -ident !working-tree-encoding\n"
"""In a repository's `info/attributes`: files have a blob's bytes, despite .gitattributes."""
_SETTINGS = {
    "core.fileMode": "true",
    "core.symlinks": "true",
    "core.ignoreCase": "false",
    "core.precomposeUnicode": "false",
    "core.autocrlf": "false",
    # Names that only NTFS or HFS would confuse with .git are names here.
    "core.protectNTFS": "false",
    "core.protectHFS": "false",
    "core.logAllRefUpdates": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
_IDENTITY = {
    "GIT_AUTHOR_NAME": "pikaci",
    "GIT_AUTHOR_EMAIL": "pikaci@localhost",
    # The first day that archive formats with DOS dates can tell.
    "GIT_AUTHOR_DATE": "315532800 +0000",
    "GIT_COMMITTER_NAME": "pikaci",
    "GIT_COMMITTER_EMAIL": "pikaci@localhost",
    "GIT_COMMITTER_DATE": "315532800 +0000",
}
_MESSAGE = "pikaci snapshot"


@dataclass(frozen=True)
class Repository:
    """The private repository of the state root `state_root`."""

    state_root: Path

    @classmethod
    def at(cls, state_root: Path) -> Repository:
        """The repository of `state_root`, which may be relative; it need not exist."""
        return cls(state_root.absolute())

    @property
    def exists(self) -> bool:
        """Whether it has been made."""
        return (self.path / "HEAD").exists()

    @property
    def path(self) -> Path:
        """The git directory."""
        return self.state_root / "git"

    @property
    def snapshots(self) -> Path:
        """Where snapshots are directories."""
        return self.state_root / "snapshots"

    @property
    def slots(self) -> Path:
        """Where locks are."""
        return self.state_root / "slots"

    @property
    def use_lock(self) -> Path:
        """Held shared to add objects, exclusively to remove them."""
        return self.slots / "git.lock"

    @property
    def git(self) -> Git:
        """A git for objects and refs, without work tree or index."""
        return Git(cwd=self.path, git_dir=self.path)

    async def edit_tree(self, tree: str, entries: Iterable[str]) -> str:
        """The tree `tree` with these index entries in it; those of mode 0 are removed."""
        index = self.path / f"{INDEX_PREFIX}edit-{secrets.token_hex(8)}"
        git = replace(self.git, index=index)
        try:
            await git.out("read-tree", tree)
            await git.out("update-index", "-z", "--index-info", stdin=join_names(entries))
            return await git.line("write-tree")
        finally:
            index.unlink(missing_ok=True)

    def commit_of(self, tree: str) -> str | None:
        """The commit that keeps `tree`, marked as used now; None if there is none."""
        ref = self.path / snapshot_ref(tree)  # never packed: no git need be asked
        with suppress(OSError, ValueError):
            os.utime(ref)
            commit = ref.read_text(encoding="ascii").strip()
            objects = self.path / "objects"
            # A crash may have kept the ref and lost what it names.
            if (objects / commit[:2] / commit[2:]).is_file() or any(objects.glob("pack/*.pack")):
                return commit or None
        return None

    def latest(self, count: int) -> list[str]:
        """The trees that were kept or used last, the latest first."""
        refs = sorted((self.path / SNAPSHOT_REFS).glob("[0-9a-f]" * 40), key=_used, reverse=True)
        return [ref.name for ref in refs[:count]]

    async def keep(self, tree: str) -> str:
        """Make the commit of `tree` and the ref that keeps it; returns the commit."""
        author = Git(cwd=self.path, git_dir=self.path, extra=_IDENTITY)
        commit = await author.line("commit-tree", "-m", _MESSAGE, tree)
        await self.git.out("update-ref", snapshot_ref(tree), commit)
        return commit


def snapshot_ref(tree: str) -> str:
    """The ref that keeps the snapshot `tree`."""
    return f"{SNAPSHOT_REFS}/{tree}"


async def open_repository(state_root: Path) -> Repository:
    """The private repository of `state_root`, made if it isn't there."""
    repository = Repository.at(state_root)
    if repository.exists:
        return repository
    try:
        repository.slots.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with lock(repository.slots / "git-init.lock", REPOSITORY_WAIT_SECS):
            if not repository.exists:
                await _make(repository)
    except OSError as error:
        raise unwritable(f"the state root {state_root} can't be written", error) from error
    return repository


async def _make(repository: Repository) -> None:
    # Under the lock, so what is here was left by a process that died.
    unborn = repository.path.with_name(".tmp-git")
    shutil.rmtree(unborn, ignore_errors=True)
    unborn.mkdir(mode=0o700)
    git = Git(cwd=unborn, git_dir=unborn)
    await git.out("init", "--quiet", "--bare", "--template=", "--object-format=sha1", str(unborn))
    with (unborn / "config").open("a") as config:
        for name, value in _SETTINGS.items():
            section, _, key = name.partition(".")
            config.write(f"[{section}]\n\t{key} = {value}\n")
    (unborn / "info").mkdir(exist_ok=True)
    (unborn / "info" / "attributes").write_text(ATTRIBUTES)
    unborn.rename(repository.path)


async def prune_repository(state_root: Path, kept: Callable[[], Collection[str]]) -> list[str]:
    """Forget every snapshot but those in `kept()` and those used within `RECENT_SECS`.

    `kept` is asked for tree ids while nothing can be added. A derived tree goes with the tree it
    was derived from, unless it is kept itself. Returns the trees that went.
    """
    repository = Repository.at(state_root)
    if not repository.exists:
        return []
    async with lock(repository.use_lock, REPOSITORY_WAIT_SECS):
        gone = await _forget(repository, frozenset(kept()))
        # An index may know objects that no ref keeps: a later write-tree would trust it.
        for index in repository.path.glob(f"{INDEX_PREFIX}*"):
            index.unlink()
        await repository.git.out("prune", "--expire=now")
        if not (await repository.git.run("repack", "-a", "-d", "-q")).ok:
            # It needs room first, and leaves half a pack on a full disk.
            await repository.git.out("prune", "--expire=now")
    return gone


async def unused_snapshots(state_root: Path, kept: Collection[str]) -> list[str]:
    """The trees that `prune_repository` would forget now."""
    repository = Repository.at(state_root)
    if not repository.exists:
        return []
    return sorted(_unused(repository, await _refs(repository), frozenset(kept)))


async def _forget(repository: Repository, kept: frozenset[str]) -> list[str]:
    refs = await _refs(repository)
    gone = _unused(repository, refs, kept)
    doomed = [ref for ref in refs if ref.split("/")[2] in gone]
    await repository.git.out(
        "update-ref", "--stdin", stdin=b"".join(b"delete %b\n" % r.encode() for r in doomed)
    )
    return sorted(gone)


async def _refs(repository: Repository) -> list[str]:
    listing = await repository.git.out(
        "for-each-ref", "--format=%(refname)", SNAPSHOT_REFS, DERIVED_REFS
    )
    return listing.decode().split()


def _unused(repository: Repository, refs: Collection[str], kept: frozenset[str]) -> set[str]:
    return {
        tree
        for ref in refs
        if ref.startswith(f"{SNAPSHOT_REFS}/")
        and (tree := ref.rpartition("/")[2]) not in kept
        and not _used_recently(repository.path / ref)
    }


def _used_recently(ref: Path) -> bool:
    return time.time() - _used(ref) < RECENT_SECS


def _used(ref: Path) -> float:
    """When a ref was used last; a packed one, in the beginning."""
    try:
        return ref.stat().st_mtime
    except FileNotFoundError:
        return 0.0
