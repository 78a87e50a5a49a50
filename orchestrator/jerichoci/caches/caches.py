"""The caches of one attempt: a private view of each, published if the job passes."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from jerichoci.caches.files import digest_of, list_files, matching
from jerichoci.machine.cache_store import MIB, data_of
from jerichoci.placement import Placement, operations
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import owner_part
from jerichoci.status import CacheUse
from jerichoci.world import Share, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jerichoci.plan.caches import Cache
    from jerichoci.snapshot.repository import Repository

TRIES = 5
"""To find an entry that is still there; each time another job has published a newer one."""
LOCK_SECS = 60.0
"""For an entry that is being removed."""


@dataclass(frozen=True)
class _View:
    cache: Cache
    key: str
    lower: str | None
    """The entry that it began with."""
    how: str
    directory: Path


@dataclass(frozen=True)
class Guest:
    """A guest, as far as what one leaves may be of no use in another."""

    image: str
    is_vm: bool
    as_root: bool

    def digest(self) -> str:
        """A few letters that differ where the guests do."""
        text = f"{self.image} {self.as_root}"
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class CacheContext:
    """The run that an attempt belongs to, as its caches need it."""

    use: CacheUse
    owner: str
    """Of the state root: a host may serve several."""
    target: str
    run_id: str
    repository: Repository
    tree: str
    """The snapshot's, whose files decide on keys."""

    guest: Guest | None = None
    """What the job runs in, if it is no process of the host."""

    def scope(self, cache: Cache) -> str:
        """What keeps the entries of a cache apart from others."""
        owner = owner_part(self.owner)
        if self.guest is not None:
            owner += f".{self.guest.digest()}"
        return f"{owner}-{self.target}" if cache.scope == "target" else owner


class Caches:
    """The caches of an attempt; `facts` has for each the key and how it was restored."""

    def __init__(
        self,
        placement: Placement,
        caches: Sequence[Cache],
        context: CacheContext,
        scratch: Path,
        note: Callable[[str], None],
    ) -> None:
        self._placement = placement
        self._caches = caches
        self._context = context
        self._below = scratch.with_name(f"{scratch.name}-caches")
        self._note = note
        self._views: list[_View] = []
        self._held = AsyncExitStack()
        self._used: dict[str, dict[str, object]] = {}
        self.facts: dict[str, Any] = {"caches": self._used}

    async def enter(self) -> World:
        """Have a private view of each."""
        if missing := await self._missing():
            self._note(f"the job has no caches: {missing}")
            return World()
        keys = await keys_of(self._context.repository, self._context.tree, self._caches)
        shares = [await self._share(cache, keys[cache.name]) for cache in self._caches]
        return World(shares=tuple(shares))

    async def _missing(self) -> str | None:
        """Why there can be none, if there can't."""
        host, guest = self._placement.host, self._context.guest
        if guest is None:
            confinement = await self._placement.confinement()
            if not (confinement.namespaces and confinement.overlay):
                return f"jobs have no overlays on {host}"
        elif guest.is_vm:
            return "no overlay is possible over what a virtual machine has of its host"
        elif self._placement.user.uid != 0:
            return f"only root, on {host}, may keep files of a guest's users"
        return None

    async def _share(self, cache: Cache, key: str) -> Share:
        scope, directory = self._context.scope(cache), self._below / cache.name
        lower, under, how = None, None, "new"
        for _ in range(TRIES):
            found = await self._placement.do(
                operations.open_cache, scope, cache.name, key, directory
            )
            if found is None:
                break
            lock = f"cache-{found.entry}"
            locking = self._placement.hold(operations.lock, lock, LOCK_SECS, shared=True)
            await self._held.enter_async_context(locking)
            # A newer one may have come in its place before it was locked.
            if await self._placement.do(operations.has_cache, found):
                lower, how = found.entry, "exact" if found.key == key else "nearest"
                under = data_of(self._placement.state_root, found)
                break
        self._views.append(_View(cache, key, lower, how, directory))
        self._used[cache.name] = {"key": key, "restored": how, "published": False}
        return Share(directory / "upper", cache.path, writable=True, under=under, is_view=True)

    async def passed(self) -> None:
        """Publish what the job left."""
        if self._context.use is not CacheUse.WRITE:
            return
        for view in self._views:
            cache = view.cache
            if not await self._was_shown(view):
                self._note(
                    f"the job had no cache {cache.name}: its guest's image is older than this"
                    " pikaci (`pikaci image import`), or the reason is in events.jsonl"
                )
                continue
            limit = cache.size_mib * MIB
            done = await self._placement.do(
                operations.publish_cache,
                self._context.scope(cache),
                cache.name,
                view.key,
                view.lower,
                view.directory / "upper",
                limit,
                self._context.run_id,
                in_use=self._context.guest is not None,
            )
            self._used[cache.name]["published"] = done.is_new
            if not done.is_new and done.bytes > limit:
                self._note(
                    f"cache {cache.name} is not kept: it has {done.bytes // MIB} MiB,"
                    f" more than {cache.size_mib} (`sizeMib`)"
                )

    async def _was_shown(self, view: _View) -> bool:
        if self._context.guest is None:
            return True
        ready = await self._placement.do(operations.read, view.directory / "ready", 1)
        return ready is not None

    async def leave(self) -> None:
        """Remove the views."""
        await self._held.aclose()
        await self._placement.do(operations.remove, self._below)


async def keys_of(repository: Repository, tree: str, caches: Sequence[Cache]) -> dict[str, str]:
    """The key of each cache: a digest of the files that it names, as the snapshot has them."""
    listed: list[str] = []
    if any(cache.key for cache in caches):
        listed = await list_files(repository, tree)
    return {cache.name: digest_of(matching(listed, cache.key)) for cache in caches}
