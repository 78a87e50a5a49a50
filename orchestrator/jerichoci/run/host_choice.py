"""Choosing a host for a job: the first of those that fit that has room for it.

The least loaded host is asked first. A host that can't be reached or used is not waited for, as
long as another one fits.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError, PikaciError
from jerichoci.machine.slots import Resources
from jerichoci.placement.operations import slot
from jerichoci.run.runtimes import macos_vms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from jerichoci.plan.plan import ExecuteNode
    from jerichoci.run.fleet import RunHost

STAGGER_SECS = 0.05
"""How long a host is asked alone before the next one is asked, too; no longer once it failed."""


class HostChoice:
    """A host for a job, among `hosts`."""

    def __init__(self, hosts: Sequence[RunHost], node: ExecuteNode) -> None:
        self._hosts = hosts
        wanted = node.execute.resources
        self._resources = Resources(wanted.cpus, wanted.memory_mib, macos_vms(node))
        self.failures: dict[str, PikaciError] = {}
        """Why hosts were passed over, by name."""

    async def acquire(self, held: AsyncExitStack, tried: AbstractSet[str]) -> RunHost | None:
        """Take room on a host until `held` is closed; None if no host can be used.

        Those in `tried` are left out.
        """
        left = self._worth_asking([host for host in self._hosts if host.name not in tried])
        left.sort(key=lambda host: (host.failures, host.load))
        asked: dict[asyncio.Task[AsyncExitStack], RunHost] = {}
        try:
            while left or asked:
                if left:
                    host = left.pop(0)
                    host.load += 1
                    asked[asyncio.create_task(self._ask(host))] = host
                await asyncio.wait(
                    asked,
                    timeout=STAGGER_SECS if left else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                found = await self._sort(asked, held)
                if found is not None:
                    return found
        finally:
            await _give_back(asked)
        return None

    def _worth_asking(self, hosts: list[RunHost]) -> list[RunHost]:
        """The hosts not known to be unusable; all, if there is no other."""
        usable = [host for host in hosts if host.refusal is None]
        if not usable:
            return hosts
        self.failures |= {host.name: host.refusal for host in hosts if host.refusal is not None}
        return usable

    async def _sort(
        self, asked: dict[asyncio.Task[AsyncExitStack], RunHost], held: AsyncExitStack
    ) -> RunHost | None:
        """Note which hosts failed; the first with room, which goes to `held`."""
        for task, host in list(asked.items()):
            if not task.done():
                continue
            del asked[task]
            error = task.exception()
            if isinstance(error, PikaciError):
                self.failures[host.name] = error
                host.failures += 1
                _less(host)
            elif error is not None:
                raise error
            else:
                await held.enter_async_context(task.result())
                held.callback(_less, host)
                return host
        return None

    async def _ask(self, host: RunHost) -> AsyncExitStack:
        await host.open()
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(host.placement.hold(slot, self._resources))
            except OSError as error:
                if not host.placement.is_remote:
                    raise
                why = error.strerror or error
                raise InfrastructureError(
                    f"the slots on {host.name} can't be used: {why}"
                ) from error
            return stack.pop_all()


def _less(host: RunHost) -> None:
    host.load -= 1


async def _give_back(asked: dict[asyncio.Task[AsyncExitStack], RunHost]) -> None:
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    for task, host in asked.items():
        _less(host)
        if not task.cancelled() and task.exception() is None:
            await task.result().aclose()
