"""Which tracked files the ignore rules name, without asking git every time.

A snapshot has what isn't ignored and what the user's index tracks although it is. git can list the
latter, but walks every directory for it. The answer follows from the names in the index and from
the .gitignore files above them, so it is kept together with

- the stat of the user's index (git replaces it whenever a name in it changes), and
- the stats of the .gitignore files in every directory that either index has names in.

A stat taken so close to a change that another change could hide behind it counts as none.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jerichoci.snapshot.git import has_repository, is_storable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jerichoci.snapshot.work_tree import WorkTree

SETTLED_NS = 100_000_000
"""A file this long unchanged (ns) can't change again and keep its stat: clocks tick in a few ms."""


@dataclass(frozen=True)
class Rules:
    """What was seen of the ignore rules, of nested repositories and of private directories.

    `signature` is None if a rule was changed too recently. `nested` has the directories,
    among those looked at, that are repositories of their own, `private` those that only their owner
    may enter.
    """

    signature: str | None = None
    nested: frozenset[str] = frozenset()
    private: frozenset[str] = frozenset()


def read_rules(tree: WorkTree, directories: Iterable[str], started_ns: int) -> Rules:
    """Look at the ignore rules in `directories` (relative names) as they were at `started_ns`."""
    digest = hashlib.sha256(tree.ignoring)
    settled = True
    nested = set()
    private = set()
    for directory in directories:
        path = tree.path(directory)
        if directory and has_repository(path):
            nested.add(directory)
        if directory and is_private_directory(path):
            private.add(directory)
        seen = _seen(f"{path}/.gitignore")
        if seen:
            digest.update(f"{directory}\0{seen}\0".encode("utf-8", "surrogateescape"))
            settled = settled and _is_settled(seen, started_ns)
    signature = digest.hexdigest() if settled else None
    return Rules(signature, frozenset(nested), frozenset(private))


def index_signature(tree: WorkTree, started_ns: int) -> str | None:
    """Identifies a state of the user's index; None if that isn't possible now."""
    if tree.index is None:
        return "none"
    seen = _seen(os.fspath(tree.index))
    if seen is None:
        return "none"
    return repr(seen) if _is_settled(seen, started_ns) else None


def directories_of(names: Iterable[str]) -> set[str]:
    """Every directory above `names`, the top ("") included."""
    found = {name.rpartition("/")[0] for name in names}
    for directory in tuple(found):
        above = directory.rpartition("/")[0]
        while above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return found | {""}


class Ancestry:
    """Tells which names a snapshot can have: files with nothing but plain directories above."""

    def __init__(self, tree: WorkTree) -> None:
        self._tree = tree
        self._plain: dict[str, bool] = {"": True}

    def has(self, name: str) -> bool:
        """Whether `name` is a file or symlink, below no symlink and in no nested repository."""
        return self.may_have(name) and is_storable(self._tree.path(name))

    def may_have(self, name: str) -> bool:
        """Whether `name` is below no symlink and in no nested repository, whatever is there."""
        return not self._tree.is_private(name) and self._is_plain(name.rpartition("/")[0])

    def is_nested(self, name: str) -> bool:
        """Whether `name` is a nested repository, below no symlink and in no other one."""
        path = self._tree.path(name)
        return (
            not os.path.islink(path)  # noqa: PTH114 - names may be any bytes
            and has_repository(path)
            and self._is_plain(name.rpartition("/")[0])
        )

    def _is_plain(self, directory: str) -> bool:
        known = self._plain.get(directory)
        if known is None:
            path = self._tree.path(directory)
            known = self._plain[directory] = (
                self._is_plain(directory.rpartition("/")[0])
                and not os.path.islink(path)  # noqa: PTH114 - names may be any bytes
                and not has_repository(path)
            )
        return known


def is_private_directory(path: str) -> bool:
    """Whether only its owner may enter the directory."""
    return _mode_lacks(path, 0o011)


def is_private_file(path: str) -> bool:
    """Whether only its owner may read the file."""
    return _mode_lacks(path, 0o044)


def _mode_lacks(path: str, bits: int) -> bool:
    try:
        return not os.lstat(path).st_mode & bits
    except OSError:
        return False


def _seen(path: str) -> tuple[int, int, int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _is_settled(seen: tuple[int, int, int, int], started_ns: int) -> bool:
    return max(seen[2], seen[3]) < started_ns - SETTLED_NS
