"""A work tree compared with its private index: what must be stored, what must go.

Two gits look at the same time, one at what the index has, one at what it hasn't; asking which
tracked files are ignored is left out while nothing that decides it has changed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jerichoci.machine.gather import together
from jerichoci.snapshot.git import GITLINK_MODE, is_storable
from jerichoci.snapshot.ignore import (
    Ancestry,
    Rules,
    directories_of,
    index_signature,
    is_private_directory,
    is_private_file,
    read_rules,
)

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.snapshot.git import Git
    from jerichoci.snapshot.work_tree import WorkTree


@dataclass(frozen=True)
class Known:
    """What was known when a private index was last written.

    `tree` is the index as a tree, `accepted` the last one that was searched for what a snapshot
    lacks: `pointers` (LFS), `absent`, `inactive` and `unnamed` (submodules that are not there).
    `forced` has the names the user's index tracks although they are ignored, `present` those of
    them that the index has. `rules` and `user_index` are the signatures under which that holds,
    `directories` where rules were looked for, `repositories` those of them that had one of their
    own, so that nothing below them is in the index. `nested` maps nested repositories to their
    trees; `whole` is the tree with their contents. `index` is what the index file looked like.
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
    pointers: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    inactive: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    index: str | None = None


@dataclass(frozen=True)
class Listing:
    """Tracked files that the rules ignore: `ignored` in the private index, `forced` in the user's.

    `user_directories` are those of the user's index, None if they are known already. `untracked`
    has what the private index has and the user's hasn't, as far as that may be news.
    """

    ignored: list[str] = field(default_factory=list)
    forced: list[str] = field(default_factory=list)
    rules: Rules = field(default_factory=Rules)
    user_index: str | None = None
    user_directories: frozenset[str] | None = None
    untracked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Scan:
    """What a scan found.

    `deleted` and `stored` are names for the index to lose and to take (again). `nested` are
    repositories inside the tree; `swallowed` are those that have come about around files that the
    index may have. `present` has those of the listing's `forced` that the index has. `left_out` are
    untracked files that only their owner may read.
    """

    deleted: frozenset[str]
    stored: frozenset[str]
    nested: tuple[str, ...]
    listing: Listing
    swallowed: frozenset[str] = frozenset()
    present: list[str] = field(default_factory=list)
    left_out: frozenset[str] = frozenset()


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
        """Look at the work tree."""
        if self.tree.tracked_only and self.tree.git is not None:
            return await self._scan_tracked(self.tree.git)
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
        left_out = await self._private(stored | nested, deleted, listing)
        return Scan(
            deleted=frozenset(deleted | (left_out - set(visible))),
            stored=frozenset(stored - deleted - left_out),
            nested=tuple(sorted(nested - left_out)),
            listing=listing,
            swallowed=listing.rules.nested - set(self.known.repositories if self.known else []),
            present=present,
            left_out=left_out,
        )

    async def _scan_tracked(self, users: Git) -> Scan:
        """What the user's index tracks, and nothing else, without a look at other directories."""
        changes, own, staged = await together(
            self.git.names("diff-files", "--name-status", "--no-renames", "-z"),
            self.git.names("ls-files", "-z"),
            users.names("ls-files", "--stage", "-z"),
        )
        entries = [entry.partition("\t") for entry in staged]
        tracked = {name for _, _, name in entries}
        ancestry = Ancestry(self.tree)
        wanted = (tracked - set(own)) | {name for name in changes[1::2] if name in tracked}
        stored = {name for name in wanted if ancestry.has(name)}
        gitlinks = (name for meta, _, name in entries if meta.startswith(GITLINK_MODE))
        return Scan(
            deleted=frozenset(
                (set(own) - tracked)
                | (set(changes[1::2]) - stored)
                | {name for name in own if not ancestry.may_have(name)}
            ),
            stored=frozenset(stored),
            nested=tuple(sorted(filter(ancestry.is_nested, gitlinks))),
            listing=Listing(user_directories=frozenset(directories_of(tracked))),
        )

    async def _private(
        self, names: set[str], deleted: set[str], listing: Listing
    ) -> frozenset[str]:
        """Those of `names`, and of what was taken before and is not deleted, that are private.

        They are untracked, and only their owner may read them, or enter a directory above.
        """
        if self.tree.whole:
            return frozenset()
        enclosed: dict[str, bool] = {"": False}

        def is_enclosed(directory: str) -> bool:
            if directory not in enclosed:
                enclosed[directory] = is_private_directory(self.tree.path(directory)) or (
                    is_enclosed(directory.rpartition("/")[0])
                )
            return enclosed[directory]

        doubtful = {*names, *listing.untracked}
        if listing.rules.private:
            doubtful.update(await self.git.names("ls-files", "-z"))
        private = {
            name
            for name in doubtful - deleted
            if is_enclosed(name.rpartition("/")[0]) or is_private_file(self.tree.path(name))
        }
        if not private or self.tree.git is None:
            return frozenset(private)
        return frozenset(private.difference(await self.tree.git.names("ls-files", "-z")))

    def _excluding(self) -> tuple[str, ...]:
        if self.tree.git is not None:
            return ("--exclude-standard",)
        return (f"--exclude-from={self.excludes}",)

    async def _list_ignored(self) -> Listing:
        user_index = index_signature(self.tree, self.started_ns)
        known = self.known
        directories = known.directories if known else [""]
        rules = await asyncio.to_thread(read_rules, self.tree, directories, self.started_ns)
        listing = Listing(rules=rules, user_index=user_index)
        if self.tree.git is None:
            return replace(listing, user_directories=None if known else frozenset())
        ignored: list[str] = []
        if known and rules.signature is not None and rules.signature == known.rules:
            if user_index is not None and user_index == known.user_index:
                return replace(listing, ignored=known.present, forced=known.forced)
            ignored = known.present
        elif known:
            ignored = await self.git.names(*_IGNORED)
        forced, names, own = await together(
            self.tree.git.names(*_IGNORED),
            self.tree.git.names("ls-files", "-z"),
            self.git.names("ls-files", "-z"),
        )
        return replace(
            listing,
            ignored=ignored,
            forced=sorted(set(forced)),
            user_directories=frozenset(directories_of(names)),
            untracked=frozenset(own).difference(names),
        )


_IGNORED = ("ls-files", "--cached", "--ignored", "-z", "--exclude-standard")
