"""When a tree has changed and is quiet again.

A change is settled when nothing more has come for SETTLED_SECS. A tree in which something is
written without a pause does not settle: after UNSETTLED_SECS that is told instead.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.state.dataclass import dataclass
from pikaci.watch.inotify import Inotify
from pikaci.watch.notice import Kind, Notice, Notices, TooManyError
from pikaci.watch.places import Places
from pikaci.watch.polling import POLL_SECS, Polling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from jerichoci.snapshot.work_tree import WorkTree

SETTLED_SECS = 0.2
"""Without another change: longer than an editor takes to save, shorter than a person notices."""
UNSETTLED_SECS = 10.0
"""Of changes without such a pause: longer than git takes to check out most branches."""


@dataclass(frozen=True)
class Change:
    """Something changed: the last file seen, and whether the tree is quiet again."""

    name: str
    is_settled: bool


class Watcher:
    """Tells of changes in a tree; opened by `watching`."""

    def __init__(self, tree: WorkTree, complain: Callable[[str], None], *, poll: bool) -> None:
        self._root = str(tree.root)
        self._places = Places(tree)
        self._complain = complain
        self._notices: Notices = Polling(self._root) if poll else Inotify(self._root)
        self._waiting: list[Notice] = []
        self._last = ""
        self._last_at = 0.0
        self._since: float | None = None
        """When the first change came that was not told yet."""

    async def open(self) -> None:
        """Begin to watch."""
        await self._watch(await self._places.directories())

    def close(self) -> None:
        """End watching."""
        self._notices.close()

    async def next(self) -> Change:
        """Wait for a change and until the tree is quiet again. The wait may be cancelled.

        Raises:
            InfrastructureError: the tree itself was removed or renamed.
        """
        while True:
            now = time.monotonic()
            if self._since is not None:
                is_settled = now - self._last_at >= SETTLED_SECS
                if is_settled or now - self._since >= UNSETTLED_SECS:
                    self._since = None if is_settled else now
                    return Change(self._last, is_settled)
            left = None if self._since is None else self._last_at + SETTLED_SECS - now
            if not self._waiting:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        found = await self._notices.get()
                        self._waiting += found
            try:
                await self._take()
            except InfrastructureError:
                # git can't be started where there is no directory.
                if Path(self._root).is_dir():
                    raise
                raise _gone(self._root) from None

    async def _take(self) -> None:
        """Sort out what the notices are about; what waits stays if this is cancelled."""
        notices = list(self._waiting)
        if any(notice.kind is Kind.GONE and not notice.name for notice in notices):
            raise _gone(self._root)
        changed = [each.name for each in notices if each.kind in {Kind.CHANGED, Kind.GONE}]
        found = await self._places.files(changed)
        is_lost = any(notice.kind is Kind.LOST for notice in notices)
        if is_lost or any(name.rpartition("/")[2] == ".gitignore" for name in found):
            await self._watch(await self._places.directories())
        for top in dict.fromkeys(each.name for each in notices if each.kind is Kind.DIRECTORY):
            if directories := await self._places.directories(top):
                await self._watch(directories)
                found.append(top)
        del self._waiting[: len(notices)]
        if found or is_lost:
            self._last = found[-1] if found else ""
            self._last_at = time.monotonic()
            self._since = self._last_at if self._since is None else self._since

    async def _watch(self, directories: list[str]) -> None:
        try:
            self._notices.watch(directories)
        except TooManyError as error:
            self._notices.close()
            self._complain(
                f"the system allows too few watches ({error}): looking at the files every"
                f" {POLL_SECS:g} s instead"
            )
            self._notices = Polling(self._root)
            self._notices.watch(await self._places.directories())


def _gone(root: str) -> InfrastructureError:
    return InfrastructureError(f"{root} was removed or renamed", "there is nothing left to watch")


@asynccontextmanager
async def watching(
    tree: WorkTree, complain: Callable[[str], None], *, poll: bool = sys.platform != "linux"
) -> AsyncIterator[Watcher]:
    """Watch a tree. Where the system allows too few watches, `complain` is told."""
    watcher = Watcher(tree, complain, poll=poll)
    try:
        await watcher.open()
        yield watcher
    finally:
        watcher.close()
