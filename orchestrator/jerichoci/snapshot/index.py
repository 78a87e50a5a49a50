"""The private index of a work tree, kept between snapshots so that only changes cost.

- One index per work tree, at `<state_root>/git/pikaci-index-<hash of its path>`; the holder of its
  lock may use it.
- What the index has follows from the work tree alone: files that aren't ignored, and files that are
  but that the user's index tracks. Nested repositories are never in it.
- `<index>.json` has what else was known when the index was written. It is removed before the
  index changes and written after: without it the index counts for nothing and is made anew.
- The index gets the time at which looking at files began, so a file written since is compared by
  content next time, whatever its stat.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, field, replace
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.machine.gather import together
from jerichoci.snapshot.git import REMOVED, Git, has_repository, join_names
from jerichoci.snapshot.repository import INDEX_PREFIX, Repository
from jerichoci.snapshot.scan import Scan, scan_work_tree
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from jerichoci.snapshot.work_tree import WorkTree

SETTLED_NS = 100_000_000
"""Clocks that stamp files tick in a few ms: what is this old (ns) has another stamp."""
_BARELY = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Known:
    """What was known when a private index was last written.

    `tree` is the index as a tree; `directories` has those in it, and perhaps others, that were no
    repositories. `accepted` is the last tree that was searched for what a snapshot lacks:
    `pointers` (LFS). `nested` maps nested repositories to their trees; `whole` is the tree with
    their contents. `index` is what the index file looked like.
    """

    tree: str
    directories: list[str] = field(default_factory=list)
    nested: dict[str, str] = field(default_factory=dict)
    whole: str | None = None
    accepted: str | None = None
    pointers: list[str] = field(default_factory=list)
    index: str | None = None


@dataclass(frozen=True)
class PrivateIndex:
    """The private index of one work tree."""

    repository: Repository
    tree: WorkTree

    @property
    def path(self) -> Path:
        """The index file."""
        return self.repository.path / f"{INDEX_PREFIX}{_digest(os.fsencode(self.tree.root))}"

    @property
    def lock(self) -> Path:
        """The file whose lock protects the index."""
        return self.repository.slots / f"{self.path.name}.lock"

    @property
    def git(self) -> Git:
        """A git on this index and work tree."""
        return Git(
            cwd=self.tree.root,
            git_dir=self.repository.path,
            work_tree=self.tree.root,
            index=self.path,
        )

    def known(self) -> Known | None:
        """What is known of the index; None if it can't be relied on."""
        try:
            known = Known(**json.loads(self._known_path.read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return known if known.index == self._stamp() else None

    def learn(self, known: Known) -> None:
        """Record that the index can be relied on, and what is known of it."""
        temp = self._known_path.with_suffix(".tmp")
        temp.write_text(json.dumps(asdict(replace(known, index=self._stamp()))))
        temp.rename(self._known_path)

    async def refresh(self) -> tuple[Known, Scan]:
        """Bring the index up to date with the work tree; returns what was seen of that too."""
        known = self.known()
        if known is not None:
            with suppress(InfrastructureError):  # a damaged index is as good as none
                return await self._update(known)
        self._forget()
        return await self._update(None)

    @property
    def _known_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def _stamp(self) -> str:
        """Identifies the index file: a git whose parent was killed may have written another."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return "none"
        return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"

    def _forget(self) -> None:
        self._known_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.path.with_name(f"{self.path.name}.lock").unlink(missing_ok=True)

    async def _update(self, known: Known | None) -> tuple[Known, Scan]:
        started_ns = time.time_ns()
        no_index = self.path.with_name(f"{self.path.name}.none")
        scan, swallowed = await together(
            scan_work_tree(self.tree, self.git, no_index),
            asyncio.to_thread(self._swallowed, known),
        )
        if swallowed is not None:
            raise InfrastructureError(f"{swallowed} has become a repository of its own")
        if known is not None and not scan.deleted and not scan.stored:
            return known, scan
        self._known_path.unlink(missing_ok=True)
        tree = await self._write(scan, started_ns)
        known = known or Known(tree)
        directories = _directories_of(scan.stored).difference(known.directories)
        plain = [name for name in directories if not has_repository(self.tree.path(name))]
        return replace(known, tree=tree, directories=[*known.directories, *plain]), scan

    def _swallowed(self, known: Known | None) -> str | None:
        """A directory around files that the index has which has become a repository."""
        directories = known.directories if known else ()
        return next((name for name in directories if has_repository(self.tree.path(name))), None)

    async def _write(self, scan: Scan, started_ns: int) -> str:
        if scan.deleted:
            removals = join_names(f"{REMOVED}\t{name}" for name in sorted(scan.deleted))
            await self.git.out("update-index", "-z", "--index-info", stdin=removals)
        if scan.stored:
            await self._store(sorted(scan.stored))
        tree = await self.git.line("write-tree")
        if self.path.exists():
            stamp = started_ns - SETTLED_NS
            os.utime(self.path, ns=(stamp, stamp))
        return tree

    async def _store(self, names: list[str]) -> None:
        done = await self.git.run(
            *("update-index", "--add", "--remove", "--replace", "-z", "--stdin"),
            stdin=join_names(names),
        )
        if not done.ok:
            _blame_unreadable(self.tree, names)
            raise InfrastructureError(
                f"the files of {self.tree.root} can't be stored: {done.reason()}",
                "is the disk full, or something changing the tree?",
            )


def _directories_of(names: Iterable[str]) -> set[str]:
    """Every directory above `names` but the top."""
    found: set[str] = set()
    for name in names:
        above = name.rpartition("/")[0]
        while above and above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _blame_unreadable(tree: WorkTree, names: Iterable[str]) -> None:
    for name in names:
        try:
            os.close(os.open(tree.path(name), _BARELY))
        except PermissionError as error:
            raise UsageError(
                f"{name} can't be read: {error.strerror}",
                "make it readable, or ignore it",
            ) from error
        except OSError:
            continue
