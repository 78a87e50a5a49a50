"""Files far below a directory, by the names on the way: a path as a whole may be too long to open.

No link is followed, and the directory that was used last stays open for the next file in it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from jerichoci.state.remove_tree import DIRECTORY_FLAGS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType


class Descent:
    """A context manager: ways down from `root`; what is missing on them is made if it `makes`."""

    def __init__(self, root: Path, *, makes: bool = False) -> None:
        self._root = os.open(root, DIRECTORY_FLAGS)
        self._makes = makes
        self._names: list[str] = []
        self._last = os.dup(self._root)

    def __enter__(self) -> Self:
        """It is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close what is open."""
        for fd in (self._root, self._last):
            os.close(fd)

    def directory(self, names: Sequence[str]) -> int:
        """A descriptor of the directory that is reached by `names`; it is valid until the next.

        Raises:
            OSError: there is none, or it can't be made.
        """
        known = len(self._names)
        if list(names[:known]) != self._names:
            self._go_to(os.dup(self._root))
            self._names = []
        for name in names[len(self._names) :]:
            if self._makes:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=self._last)
            self._go_to(os.open(name, DIRECTORY_FLAGS, dir_fd=self._last))
            self._names.append(name)
        return self._last

    def _go_to(self, fd: int) -> None:
        os.close(self._last)
        self._last = fd
