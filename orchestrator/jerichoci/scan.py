"""A work tree compared with its private index: what must be stored, what must go.

Two gits look at the same time, one at what the index has, one at what it hasn't; asking which
tracked files are ignored is left out while nothing that decides it has changed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jerichoci.git import is_storable
from jerichoci.ignore import Ancestry, Rules, directories_of, index_signature, read_rules
from jerichoci.together import together

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.git import Git
    from jerichoci.worktree import WorkTree


@dataclass(frozen=True)
class Known:
    """What was known when a private index was last written.

    `tree` is the index as a tree, `accepted` the last one found fit for a snapshot. `forced` has
    the names the user's index tracks although they are ignored, `present` those of them that the
    index has. `rules` and `user_index` are the signatures under which that holds, `directories`
    where rules were looked for, `repositories` those of them that had one of their own, so that
    nothing below them is in the index. `nested` maps nested repositories to their trees; `whole` is
    the tree with their contents. `index` is what the index file looked like.
    """

    tree: str
    rules: str | None = None
    user_index: str | None = None
    forced: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    repositories: list[str] = field(default_factory=list)
    nested: dict[str, str] = field(default_factory=dict)
    whole: str | None = None
    accepted: str | None = None
    index: str | None = None


@dataclass(frozen=True)
class Scan:
    """What a scan found.

    `deleted` and `stored` are names for the index to lose and to take (again). `nested` are
    repositories inside the tree; `swallowed` are those that have come about around files that the
    index may have. `user_directories` is None if the known directories include them.
    """

    deleted: frozenset[str]
    stored: frozenset[str]
    nested: tuple[str, ...]
    swallowed: frozenset[str]
    rules: Rules
    user_index: str | None
    forced: list[str]
    present: list[str]
    user_directories: frozenset[str] | None


@dataclass(frozen=True)
class Scanner:
    """Scans `tree` with `git`, bound to the private index of which `known` holds.

    `excludes` is a file with the tree's `ignoring` patterns; `started_ns` the time (ns since the
    epoch) before which nothing has been looked at.
    """

    tree: WorkTree
    git: Git
    excludes: Path
    known: Known | None
    started_ns: int

    async def scan(self) -> Scan:
        """Look at the work tree.

        Raises:
            InfrastructureError: git failed.
        """
        changes, untracked, listing = await together(
            self.git.names("diff-files", "--name-status", "--no-renames", "-z"),
            self.git.names("ls-files", "--others", "-z", *self._excluding()),
            self._list_ignored(),
        )
        ancestry = Ancestry(self.tree)
        visible = [name for name in untracked if not self.tree.is_private(name)]
        present = [name for name in listing.forced if ancestry.has(name)]
        nested = {name[:-1] for name in visible if name.endswith("/")}
        nested |= {name for name in listing.forced if ancestry.is_nested(name)}
        stored = {name for name in visible if not name.endswith("/")}
        stored |= set(present) - set(listing.ignored)
        deleted = set(listing.ignored) - set(listing.forced)
        for status, name in zip(changes[::2], changes[1::2], strict=True):
            here = status != "D" and is_storable(self.tree.path(name))
            (stored if here else deleted).add(name)
        return Scan(
            deleted=frozenset(deleted),
            stored=frozenset(stored - deleted),
            nested=tuple(sorted(nested)),
            swallowed=listing.rules.nested - set(self.known.repositories if self.known else []),
            rules=listing.rules,
            user_index=listing.user_index,
            forced=listing.forced,
            present=present,
            user_directories=listing.user_directories,
        )

    def _excluding(self) -> tuple[str, ...]:
        if self.tree.git is not None:
            return ("--exclude-standard",)
        return (f"--exclude-from={self.excludes}",)

    async def _list_ignored(self) -> _Listing:
        user_index = index_signature(self.tree, self.started_ns)
        directories = self.known.directories if self.known else [""]
        rules = await asyncio.to_thread(read_rules, self.tree, directories, self.started_ns)
        known = self.known
        if self.tree.git is None:
            return _Listing([], [], rules, user_index, None if known else frozenset())
        if known is None:
            ignored: list[str] = []
        elif rules.signature is not None and rules.signature == known.rules:
            if user_index is not None and user_index == known.user_index:
                return _Listing(known.present, known.forced, rules, user_index, None)
            ignored = known.present
        else:
            ignored = await self.git.names(*_IGNORED)
        forced, names = await together(
            self.tree.git.names(*_IGNORED), self.tree.git.names("ls-files", "-z")
        )
        return _Listing(
            ignored, sorted(set(forced)), rules, user_index, frozenset(directories_of(names))
        )


_IGNORED = ("ls-files", "--cached", "--ignored", "-z", "--exclude-standard")


@dataclass(frozen=True)
class _Listing:
    """Tracked files that the rules ignore: `ignored` in the private index, `forced` in the user's.

    `user_directories` are those of the user's index, None if they are known already.
    """

    ignored: list[str]
    forced: list[str]
    rules: Rules
    user_index: str | None
    user_directories: frozenset[str] | None
