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

import hashlib
import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.snapshot.git import Git, join_names
from jerichoci.snapshot.ignore import SETTLED_NS, directories_of, read_rules
from jerichoci.snapshot.repository import INDEX_PREFIX
from jerichoci.snapshot.scan import Known, Scan, Scanner

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from jerichoci.snapshot.repository import Repository
    from jerichoci.snapshot.work_tree import WorkTree

NULL_ID = "0" * 40
_BARELY = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


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
    def excludes(self) -> Path:
        """A file with the patterns that apply beside those of .gitignore files."""
        return self.repository.path / f"{INDEX_PREFIX}ignore-{_digest(self.tree.ignoring)}"

    @property
    def git(self) -> Git:
        """A git on this index and work tree."""
        return Git(
            cwd=self.tree.root,
            git_dir=self.repository.path,
            work_tree=self.tree.root,
            index=self.path,
            config=(f"core.excludesFile={self.excludes}",),
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
        self._write_excludes()
        known = self.known()
        if known is not None:
            with suppress(InfrastructureError):  # a damaged index is as good as none
                return await self._update(known)
        self._forget()
        return await self._update(None)

    async def insert(self, nested: Mapping[str, str]) -> str:
        """Write the tree of the index with the trees in `nested` at the names that they have there.

        So nested repositories (submodules, clones, linked work trees) become plain directories.
        """
        whole = self.path.with_name(f"{self.path.name}.whole")
        if self.path.exists():
            shutil.copyfile(self.path, whole)
        else:
            whole.unlink(missing_ok=True)
        git = self.repository.with_index(whole)
        entries = []
        try:
            for name, tree in nested.items():
                listed = await self.repository.git.names("ls-tree", "-r", "-z", tree)
                entries += [entry.replace("\t", f"\t{name}/", 1) for entry in listed]
            await git.out("update-index", "-z", "--index-info", stdin=join_names(entries))
            return await git.line("write-tree")
        finally:
            whole.unlink(missing_ok=True)

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

    def _write_excludes(self) -> None:
        if not self.excludes.exists():
            temp = self.excludes.with_suffix(f".{os.getpid()}.tmp")
            temp.write_bytes(self.tree.ignoring)
            temp.rename(self.excludes)

    async def _update(self, known: Known | None) -> tuple[Known, Scan]:
        started_ns = time.time_ns()
        scan = await Scanner(self.tree, self.git, self.excludes, known, started_ns).scan()
        if known is not None and scan.swallowed:
            raise InfrastructureError(f"{min(scan.swallowed)} has become a repository of its own")
        if known is not None and not scan.deleted and not scan.stored:
            tree = known.tree
        else:
            self._known_path.unlink(missing_ok=True)
            tree = await self._write(scan, started_ns)
        forced = scan.listing.forced
        updated = replace(known or Known(tree), tree=tree, forced=forced, present=scan.present)
        return await self._with_rules(updated, scan, started_ns), scan

    async def _write(self, scan: Scan, started_ns: int) -> str:
        if scan.deleted:
            removals = join_names(f"0 {NULL_ID}\t{name}" for name in sorted(scan.deleted))
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

    async def _with_rules(self, known: Known, scan: Scan, started_ns: int) -> Known:
        """What of the rules holds from now on: directories that came with this scan count too."""
        if scan.listing.user_directories is None:
            directories = directories_of(scan.stored) | set(known.directories)
        else:
            names = await self.git.names("ls-tree", "-r", "-d", "-z", "--name-only", known.tree)
            directories = {*scan.listing.user_directories, *names, ""}
        if directories == set(known.directories):
            rules = scan.listing.rules
        else:
            rules = read_rules(self.tree, sorted(directories), started_ns)
        return replace(
            known,
            rules=rules.signature,
            user_index=scan.listing.user_index,
            directories=sorted(directories),
            repositories=sorted(rules.nested.union(scan.nested)),
        )


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
