"""The caches that jobs of a state root left on remote hosts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jerichoci.cleanup.host_visits import visits
from jerichoci.cleanup.remote import CONNECT_SECS
from jerichoci.errors import InfrastructureError
from jerichoci.nix.command import NixOptions
from jerichoci.placement import operations
from jerichoci.remote.pool import SessionPool
from jerichoci.state.ids import owner_part

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from jerichoci.machine.cache_store import CacheEntry
    from jerichoci.state.layout import StateLayout


async def caches_on(
    state: StateLayout, hosts: Collection[str], doomed: Callable[[CacheEntry], bool]
) -> list[tuple[str, CacheEntry, bool]]:
    """The entries on hosts, each with its host and whether it was removed, as `doomed` says.

    Raises:
        InfrastructureError: a host can't be reached.
    """
    owner, found = owner_part(state.owner_id()), []
    async with SessionPool() as pool:
        for visit in visits(state, hosts):
            session = pool.session(visit.host, NixOptions())
            try:
                async with asyncio.timeout(CONNECT_SECS):
                    await session.open()
            except TimeoutError as error:
                raise InfrastructureError(f"{visit} takes too long to answer") from error
            for entry in await session.do(operations.list_caches):
                if entry.scope.startswith(owner):
                    gone = doomed(entry) and await session.do(operations.remove_cache, entry)
                    found.append((str(visit), entry, gone))
    return found
