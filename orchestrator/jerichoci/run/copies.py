"""Copies of prepared outputs in another store of Nix, made while the runs are under way.

What is handed over while a copy is under way is copied together, in one `nix copy`, which leaves
out what the store has. A failure is noted, and decides nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, PikaciError
from jerichoci.machine import process
from jerichoci.nix import command as nix
from jerichoci.nix.builds import store_names
from jerichoci.record.record import OutputCopy
from jerichoci.state.credentials import without_credentials
from jerichoci.status import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.nix.command import NixOptions

COPY_SECS = 4 * 3600.0
"""For one `nix copy`: closures of many gigabytes, on slow lines."""
COPIES_END_SECS = 300.0
"""For what is not copied when the jobs are over; then the run ends without it."""


class Copies:
    """Copies what several runs of a process prepare, each path once."""

    def __init__(self, store: str, options: NixOptions) -> None:
        self._store = store
        self._options = options
        self._ends: dict[str, asyncio.Future[OutputCopy]] = {}
        self._waiting: list[str] = []
        self._work: asyncio.Task[None] | None = None

    def copy(self, path: str) -> asyncio.Future[OutputCopy]:
        """Begin to copy a valid path of this machine's store, with its closure; what became of it.

        It never fails and is never cancelled.
        """
        if path not in self._ends:
            self._ends[path] = asyncio.get_running_loop().create_future()
            self._waiting.append(path)
            if self._work is None or self._work.done():
                self._work = asyncio.ensure_future(self._copy_what_waits())
        return self._ends[path]

    @property
    def copying(self) -> tuple[str, ...]:
        """The names of what is not copied yet."""
        return store_names(path for path, end in self._ends.items() if not end.done())

    def unfinished(self, why: str) -> OutputCopy:
        """What a copy is that is not waited for any more."""
        return self._end(Outcome.CANCELLED, why)

    async def close(self) -> None:
        """End what is under way."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _copy_what_waits(self) -> None:
        await asyncio.sleep(0)  # for what else is there in this moment
        while self._waiting:
            paths, self._waiting = self._waiting, []
            try:
                failed = await self._copy(paths)
            except PikaciError as error:
                failed = dict.fromkeys(paths, str(error))
            except Exception as error:  # noqa: BLE001 - it must not decide a run
                failed = dict.fromkeys(paths, f"pikaci itself failed: {error!r}")
            for path in paths:
                why = failed.get(path)
                outcome = Outcome.PASSED if why is None else Outcome.FAILED
                self._ends[path].set_result(self._end(outcome, why))

    async def _copy(self, paths: Sequence[str]) -> dict[str, str]:
        """Copy paths; those that are not in the store afterwards, and why."""
        argv = self._options.copy_argv(paths, self._store)
        done = await process.run(argv, deadline_secs=COPY_SECS)
        if done.ok:
            return {}
        absent = frozenset(paths)
        if len(paths) > 1:
            with suppress(InfrastructureError):
                absent = await nix.invalid_in(self._store, paths, self._options)
        return dict.fromkeys(absent, done.reason())

    def _end(self, outcome: Outcome, why: str | None) -> OutputCopy:
        message = without_credentials(why) if why else None
        store = without_credentials(self._store)
        return OutputCopy(store=store, outcome=outcome, message=message)
