"""The guests' store: what a job in a guest sees at /nix/store.

One store per state root, which grows by what is missing. For each closure there is a view: a
directory with the closure's paths as links to the store's files, and nothing else. A view that is
there is whole, so having it again takes no Nix. `guestviews` says how it is kept consistent.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine import process
from jerichoci.nix import command as nix
from jerichoci.nix.guest_views import (
    STORE_LOCK,
    UNFINISHED,
    VIEWS_LOCK,
    VIEWS_WAIT_SECS,
    view_lock,
)
from jerichoci.state.dataclass import dataclass
from jerichoci.state.layout import StateLayout, make_private
from jerichoci.state.lock import lock
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from jerichoci.nix.command import NixOptions

COPY_DEADLINE_SECS = 3600.0
"""Copying tens of GiB between two stores on a slow disk."""
LINK_DEADLINE_SECS = 1800.0
"""Linking a million files, or copying them where links can't be had."""
VIEW_WAIT_SECS = 2 * COPY_DEADLINE_SECS
"""Another process makes the same view, or collects the store."""
PATHS_AT_ONCE = 400
"""Names of up to 211 bytes in one command line, which may have 128 KiB wherever it is run."""

STORE_DIRECTORY = Path("/nix/store")

WAYS_TO_FILL = (("-al",), ("-ac",), ("-a", "--reflink=auto"))
"""Options of `cp`: links; macOS's clones, and what Linux has instead, where the file system has no
more links to give, or none to there."""


@dataclass(frozen=True)
class View:
    """A directory on the host with the store paths of one closure."""

    path: Path
    outputs: dict[str, Path] = field(compare=False)
    """Where each output lies on the host, by store path; one that is a link to a part of another
    path of the closure, where that leads."""


class GuestStore:
    """The store below one state root, from which guests of this machine are given theirs."""

    def __init__(self, state_root: Path, nix: NixOptions) -> None:
        self._state = StateLayout(state_root)
        self._nix = nix

    async def view(self, outputs: Sequence[str], lease: Path) -> View | None:
        """The closure of valid store paths, made if it isn't there; None if there are none.

        `lease` is a symbolic link that keeps the view while it exists: `guestviews.LEASE` in the
        attempt's scratch directory.
        """
        wanted = sorted(set(outputs))
        if not wanted:
            return None
        key = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:32]
        view = self._state.guest_views / key
        schema = self._state.guest_store / "nix/var/nix/db/schema"
        if not await self._lease(view, lease):
            async with (
                self._lock(view_lock(key), VIEW_WAIT_SECS),
                # Nix reads a schema that is half written: the first copy to a store is alone.
                self._lock(STORE_LOCK, VIEW_WAIT_SECS, shared=schema.exists()),
            ):
                if not await self._lease(view, lease):
                    await self._make(key, wanted)
        return View(view, {output: _shown(view, output) for output in wanted})

    async def _lease(self, view: Path, lease: Path) -> bool:
        async with self._lock(VIEWS_LOCK, VIEWS_WAIT_SECS, shared=True):
            make_private(lease.parent)
            lease.unlink(missing_ok=True)
            lease.symlink_to(view)
            try:
                os.utime(view)
            except FileNotFoundError:
                return False
            return True

    def _lock(
        self, name: str, secs: float, *, shared: bool = False
    ) -> AbstractAsyncContextManager[None]:
        return lock(self._state.lock(name), secs, shared=shared)

    async def _make(self, key: str, outputs: Sequence[str]) -> None:
        names = await self._fill(key, outputs)
        *others, last = WAYS_TO_FILL
        for how in others:
            with suppress(InfrastructureError):
                await self._publish(key, names, how)
                return
        await self._publish(key, names, last)

    async def _fill(self, key: str, outputs: Sequence[str]) -> list[str]:
        """Have the closure in the store, and its roots; the names of its paths."""
        roots = self._state.guest_roots / key
        make_private(roots)
        for output in outputs:
            root = roots / Path(output).name
            root.unlink(missing_ok=True)
            root.symlink_to(output)
        store = nix.rooted_store(str(self._state.guest_store.resolve()))
        argv = self._nix.copy_argv(outputs, store)
        copied = await process.run(argv, deadline_secs=COPY_DEADLINE_SECS)
        if not copied.ok:
            gone: Collection[str] = ()
            with suppress(InfrastructureError):  # why copying failed is the reason
                gone = await nix.invalid(outputs)
            if gone:
                raise InfrastructureError(
                    f"{min(gone)} is not in the Nix store of {os.uname().nodename}",
                    "it was collected after it was made: run again, and it is made again",
                )
            raise _broken(copied.reason())
        argv = nix.requisites_argv(outputs, store)
        found = await _run(argv, nix.QUERY_DEADLINE_SECS)
        return [PurePosixPath(line).name for line in found.splitlines()]

    async def _publish(self, key: str, names: Sequence[str], how: Sequence[str]) -> None:
        unfinished = self._state.guest_views / f"{UNFINISHED}{key}-{os.urandom(4).hex()}"
        make_private(unfinished.parent)
        unfinished.mkdir()
        unfinished.chmod(0o755)
        try:
            for start in range(0, len(names), PATHS_AT_ONCE):
                some = names[start : start + PATHS_AT_ONCE]
                argv = ("cp", *how, "--", *some, f"{unfinished}/")
                cwd = self._state.guest_paths
                await _run(argv, LINK_DEADLINE_SECS, cwd)
            # There is none: we hold its lock, and have looked.
            unfinished.rename(self._state.guest_views / key)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(remove_tree, unfinished))
            raise


async def _run(argv: Sequence[str], deadline_secs: float, cwd: Path | None = None) -> str:
    """Run a command that has to go well; what it prints."""
    done = await process.run(argv, deadline_secs=deadline_secs, cwd=cwd)
    if not done.ok:
        raise _broken(done.reason())
    return done.stdout.decode()


def _shown(view: Path, output: str) -> Path:
    """Where a view has an output, which may be a link to another path of its closure."""
    top, *inner = Path(output).resolve().relative_to(STORE_DIRECTORY).parts
    return (view / top).joinpath(*inner)


def _broken(why: str) -> InfrastructureError:
    return InfrastructureError(
        f"the guests' store can't give a job its closure: {why}",
        "if the disk is full, make room, e.g. with `pikaci gc`; `nix store info` says whether the"
        " Nix store answers",
    )
