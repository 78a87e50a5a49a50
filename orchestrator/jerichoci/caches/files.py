"""Files of a snapshot that decide whether what was made of them is still right."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from jerichoci.machine.glob import compile_globs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jerichoci.snapshot.repository import Repository


async def list_files(repository: Repository, tree: str) -> list[str]:
    """The files of a tree, each as mode, kind and id, a tab, and its path."""
    return await repository.git.names("ls-tree", "-r", "-z", tree)


def matching(listed: Iterable[str], globs: Sequence[str]) -> list[str]:
    """Those of `list_files` whose path one of the globs matches."""
    compiled = compile_globs(globs)
    return [row for row in listed if compiled.match(row.partition("\t")[2])]


def digest_of(rows: Iterable[str]) -> str:
    """A digest of such files: of their paths, modes and contents; hexadecimal."""
    digest = hashlib.sha256()
    for row in rows:
        meta, _, path = row.partition("\t")
        digest.update(f"{meta} {path}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
