"""Which file of the repository a tool speaks of."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pikaci.render.ci.finding import Finding

MOST_FILES = 100_000
"""That are looked through for one that is named from a directory below the root."""


class Repository:
    """The files of a snapshot; without its directory, any file may be one of them."""

    def __init__(self, root: Path | None) -> None:
        self._root = root if root and root.is_dir() else None

    def place(self, finding: Finding) -> Finding | None:
        """The finding with its path from the root; None if that is no file of the repository."""
        if finding.file is None:
            return finding
        path = self._find(PurePosixPath(finding.file))
        return replace(finding, file=str(path)) if path else None

    def _find(self, path: PurePosixPath) -> PurePosixPath | None:
        if path.is_absolute():
            path = next(_below_workspace(path), path)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            return None
        if self._root is None or (self._root / path).is_file():
            return path
        # A tool that was started in a directory names files from there.
        same = self._by_name.get(path.name, [])
        found = [file for file in same if file.parts[-len(path.parts) :] == path.parts]
        return found[0] if len(found) == 1 else None

    @cached_property
    def _by_name(self) -> dict[str, list[PurePosixPath]]:
        found: dict[str, list[PurePosixPath]] = {}
        for file in islice(_files(self._root), MOST_FILES):
            found.setdefault(file.name, []).append(file)
        return found


def _files(root: Path | None) -> Iterator[PurePosixPath]:
    for directory, _, names in os.walk(root) if root else ():
        below = PurePosixPath(Path(directory).relative_to(root or directory))
        yield from (below / name for name in names)


def _below_workspace(path: PurePosixPath) -> Iterator[PurePosixPath]:
    """The path in the directory where a job works: `workspace`, or in a guest `snapshot` in it."""
    for parent in reversed(path.parents):
        if parent.name == "workspace":
            below = path.relative_to(parent)
            yield below.relative_to("snapshot") if below.parts[0] == "snapshot" else below
