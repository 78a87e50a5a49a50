"""Which directories and files of a tree can be part of its snapshots.

Left out are `.git`, what git ignores, and the state root if it lies in the tree. What is left in by
mistake costs a look at the tree, which shows that nothing has changed. What editors write for
themselves is left out, too: a snapshot may have it, but it is no reason to take one.
"""

from __future__ import annotations

import os
import re
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.snapshot.git import has_repository, join_names, split_names
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jerichoci.snapshot.git import Git
    from jerichoci.snapshot.work_tree import WorkTree

MOST_KNOWN = 100_000
"""File names whose fate is remembered: more than a burst of changes has."""
DOT_GIT = ".git"
EDITORS_OWN = re.compile(
    r"\..*\.sw[a-p]|\..*\.kate-swp|4913|.*~|\.#.*|#.*#|.*___jb_(tmp|old)___|\.goutputstream-.*"
)
"""What editors write beside the files that they edit: vim, nano, Kate, Emacs, JetBrains', GTK's."""


@dataclass
class Places:
    """The places of one work tree, asked by names relative to its root."""

    tree: WorkTree
    _repositories: list[str] = field(default_factory=lambda: [""])
    """Names of the root and of repositories in it, outer ones first."""
    _ignored: dict[str, bool] = field(default_factory=dict)
    """Whether git ignores a file, as far as it was asked."""
    _stamp: tuple[int, ...] = ()

    async def directories(self, top: str = "") -> list[str]:
        """The directories to watch at and below `top`; none if that is left out itself."""
        level = await self._belonging([top]) if top else [""]
        found: list[str] = []
        while level:
            found += level
            level = await self._belonging([name for each in level for name in self._below(each)])
        return found

    async def files(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are a reason to take another snapshot."""
        asked = [
            name
            for name in dict.fromkeys(names)
            if not self._is_private(name) and not EDITORS_OWN.fullmatch(name.rpartition("/")[2])
        ]
        stamp = self._index_stamp()
        is_rule = any(name.rpartition("/")[2] == ".gitignore" for name in asked)
        if is_rule or stamp != self._stamp or len(self._ignored) > MOST_KNOWN:
            self._stamp = stamp
            self._ignored.clear()
        unknown = [name for name in asked if name not in self._ignored]
        kept = set(await self._belonging(unknown))
        self._ignored.update((name, name not in kept) for name in unknown)
        return [name for name in asked if not self._ignored[name]]

    def _below(self, directory: str) -> list[str]:
        """The directories in one."""
        path = self.tree.path(directory)
        if directory and directory not in self._repositories and has_repository(path):
            self._repositories.append(directory)
        try:
            with os.scandir(path) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        return [f"{directory}/{name}".lstrip("/") for name in names]

    async def _belonging(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are neither private nor ignored by their repository's git."""
        kept = [name for name in names if not self._is_private(name)]
        if self.tree.git is None or not kept:
            return kept
        by_repository: dict[str, list[str]] = {}
        for name in kept:
            inside = (each for each in self._repositories if not each or _is_below(name, each))
            by_repository.setdefault(max(inside, key=len), []).append(name)
        ignored: set[str] = set()
        for repository, inside_it in by_repository.items():
            ignored |= await self._git_ignores(self.tree.git, repository, inside_it)
        return [name for name in kept if name not in ignored]

    async def _git_ignores(self, git: Git, repository: str, names: list[str]) -> set[str]:
        prefix = f"{repository}/" if repository else ""
        inner = replace(git, cwd=Path(self.tree.path(repository))) if repository else git
        listing = join_names(name.removeprefix(prefix) for name in names)
        # It fails on what is in a repository that has just been made.
        done = await inner.run("check-ignore", "-z", "--stdin", stdin=listing)
        return {prefix + name for name in split_names(done.stdout)} if done.ok else set()

    def _is_private(self, name: str) -> bool:
        return DOT_GIT in name.split("/") or self.tree.is_private(name)

    def _index_stamp(self) -> tuple[int, ...]:
        """Changes when a file is tracked from now on, which is then no longer ignored."""
        try:
            found = os.stat(self.tree.path(f"{DOT_GIT}/index"))  # noqa: PTH116 - any bytes
        except OSError:  # also where .git is a file; then a file that is added by force is missed
            return ()
        return (found.st_mtime_ns, found.st_size, found.st_ino)


def _is_below(name: str, directory: str) -> bool:
    return name.startswith(f"{directory}/")
