"""Notices from looking at the files again and again: for systems and limits without inotify."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pikaci.watch.notice import Kind, Notice

if TYPE_CHECKING:
    from collections.abc import Iterable

    Seen = dict[str, tuple[int, ...]]

POLL_SECS = 1.0
"""Between two looks; one at 10,000 files takes some 50 ms."""
BUSY_SECS = 0.1
"""Between two looks while files change: it must be seen when they no longer do."""
LEAST_REST = 10
"""Times as long as the last look took, nothing is done."""


class Polling:
    """Notices about directories below `root`, from the state of each file in them."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._seen: dict[str, Seen] = {}
        self._rest_secs = POLL_SECS

    def watch(self, directories: Iterable[str]) -> None:
        """Watch more directories."""
        for name in directories:
            if (seen := self._look(name)) is not None:
                self._seen[name] = seen

    async def get(self) -> list[Notice]:
        """Wait for notices."""
        while True:
            await asyncio.sleep(self._rest_secs)
            began = time.monotonic()
            found = self._changes()
            took = time.monotonic() - began
            self._rest_secs = max(BUSY_SECS if found else POLL_SECS, LEAST_REST * took)
            if found:
                return found

    def close(self) -> None:
        """End watching."""
        self._seen.clear()

    def _changes(self) -> list[Notice]:
        found: list[Notice] = []
        for name, before in list(self._seen.items()):
            now = self._look(name)
            if now is None:
                del self._seen[name]
                found.append(Notice(Kind.GONE, name))
                continue
            self._seen[name] = now
            changed = [each for each in before.keys() | now if before.get(each) != now.get(each)]
            for each in changed:
                path = f"{name}/{each}".strip("/")
                is_new = each in now and stat.S_ISDIR(now[each][0]) and path not in self._seen
                found.append(Notice(Kind.DIRECTORY if is_new else Kind.CHANGED, path))
        return found

    def _look(self, name: str) -> Seen | None:
        """What tells a changed entry of a directory from the one before; None if it is gone."""
        seen: Seen = {}
        try:
            with os.scandir(f"{self._root}/{name}") as entries:
                for entry in entries:
                    with suppress(OSError):
                        seen[entry.name] = _state(entry.stat(follow_symlinks=False))
        except OSError:
            return None
        return seen


def _state(found: os.stat_result) -> tuple[int, ...]:
    if stat.S_ISDIR(found.st_mode):  # its time tells of what is in it, which is watched itself
        return (found.st_mode, found.st_ino)
    return (found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
