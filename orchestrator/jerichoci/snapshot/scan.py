"""A work tree compared with its private index: what must be stored, what must go.

A snapshot has what the user's index tracks, and what `git add` would add to it. git lists both; the
private index tells which of those files have changed since they were stored.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from jerichoci.machine.gather import together
from jerichoci.snapshot.git import Git, has_repository, split_names
from jerichoci.snapshot.work_tree import WorkTree, is_empty_directory
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from pathlib import Path


_GONE = 0o777
"""The mode of what isn't there: of no kind, and not private."""


@dataclass(frozen=True)
class Scan:
    """What a scan found.

    `deleted` and `stored` are names for the index to lose and to take (again). `nested` are
    repositories inside the tree, `empty` tracked names that are empty directories, `left_out`
    untracked files that only their owner may read.
    """

    deleted: set[str]
    stored: set[str]
    nested: list[str]
    empty: list[str]
    left_out: set[str]


async def scan_work_tree(tree: WorkTree, git: Git, no_index: Path) -> Scan:
    """Compare `tree` with the private index of `git`; there is no file at `no_index`."""
    users = tree.git or replace(git, index=no_index)
    changes, listed, kept = await together(
        git.names("diff-files", "-z", "--name-only", "--no-renames"),
        users.out("ls-files", "-z", "-t", "--cached", *_untracked(tree)),
        git.out("ls-files", "-z", "-t"),
    )
    # Most files are tracked and in the private index, under the same tag; often all are.
    own, found = (set(split_names(b"" if kept == listed else each)) for each in (kept, listed))
    changed = set(changes)
    others = {entry[2:] for entry in own - found}
    tracked = {entry[2:] for entry in found - own if entry[0] != "?"}
    # A repository is listed with a slash after its name.
    untracked = {entry[2:].removesuffix("/") for entry in found - own if entry[0] == "?"}
    places = _Places(tree)
    directories = set(filter(places.is_directory, tracked | changed))
    empty = [name for name in directories if is_empty_directory(tree.path(name))]
    if lost := directories.difference(empty):
        literal = replace(users, index=no_index, extra={"GIT_LITERAL_PATHSPECS": "1"})
        inside = await literal.names("ls-files", "-z", *_untracked(tree), "--", *lost)
        untracked.update(name.removesuffix("/") for name in inside)
    # In this order: where it tracks nothing, git has looked for repositories itself.
    names = places.reachable(tracked | (changed - others), are_tracked=True)
    untracked = places.reachable(untracked - tracked, are_tracked=False)
    left_out = set() if tree.whole else set(filter(places.is_private, untracked))
    names |= untracked - left_out
    doubtful = names - (others - changed)
    stored = set(filter(places.is_storable, doubtful))
    nested = set(filter(places.is_repository, doubtful))
    if not tree.tracked_only:
        nested |= places.repositories
    deleted = (others - names) | (changed - stored)
    return Scan(deleted, stored, sorted(nested), sorted(empty), left_out)


def _untracked(tree: WorkTree) -> list[str]:
    """Options that make git list the untracked files that aren't ignored."""
    if tree.tracked_only:
        return []
    ignored = ["--exclude-standard"] if tree.git else []
    if tree.private is not None:
        # A newline, which no pattern can have, matches as `?`.
        private = re.sub(r"([\\*?[ ])", r"\\\1", tree.private).replace("\n", "?")
        ignored.append(f"--exclude=/{private}")
    return ["--others", *ignored]


class _Places:
    """What is where in a tree; each directory is looked at once."""

    def __init__(self, tree: WorkTree) -> None:
        self._tree = tree
        self._looked = {"": (True, False)}
        self.repositories: set[str] = set()
        """Those that were found in the place of directories."""

    def reachable(self, names: set[str], *, are_tracked: bool) -> set[str]:
        """Those of `names` that are below no link and in no repository inside the tree."""
        return {
            name for name in names if self._look(name.rpartition("/")[0], is_tracked=are_tracked)[0]
        }

    def is_private(self, name: str) -> bool:
        """Whether only its owner may read an untracked file, or enter a directory above."""
        is_private = self._look(name.rpartition("/")[0], is_tracked=False)[1]
        return is_private or not self._mode(name) & 0o044

    def is_storable(self, name: str) -> bool:
        """Whether git can keep it as a blob: a regular file or a symlink."""
        mode = self._mode(name)
        return stat.S_ISREG(mode) or stat.S_ISLNK(mode)

    def is_repository(self, name: str) -> bool:
        """Whether it is a directory with a repository of its own."""
        return stat.S_ISDIR(self._mode(name)) and has_repository(self._tree.path(name))

    def is_directory(self, name: str) -> bool:
        """Whether it is a directory without a repository of its own."""
        return stat.S_ISDIR(self._mode(name)) and not has_repository(self._tree.path(name))

    def _look(self, directory: str, *, is_tracked: bool) -> tuple[bool, bool]:
        """Whether the tree has what is below it, and whether only its owner may enter it."""
        if directory not in self._looked:
            has, is_private = self._look(directory.rpartition("/")[0], is_tracked=is_tracked)
            mode = self._mode(directory)
            has = has and stat.S_ISDIR(mode) and not self._tree.is_private(directory)
            if has and is_tracked and has_repository(self._tree.path(directory)):
                self.repositories.add(directory)
                has = False
            self._looked[directory] = (has, is_private or not mode & 0o011)
        return self._looked[directory]

    def _mode(self, name: str) -> int:
        try:
            return os.lstat(self._tree.path(name)).st_mode
        except OSError:
            return _GONE
