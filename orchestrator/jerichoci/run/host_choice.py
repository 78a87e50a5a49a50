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
        asked: dict[asyncio.Task[None], tuple[RunHost, AsyncExitStack]] = {}
        try:
            while left or asked:
                if left:
                    host, taken = left.pop(0), AsyncExitStack()
                    host.load += 1
                    taken.callback(_less, host)
                    asked[asyncio.create_task(self._ask(host, taken))] = host, taken
                await asyncio.wait(
                    asked,
                    timeout=STAGGER_SECS if left else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in [task for task in asked if task.done()]:
                    host, taken = asked.pop(task)
                    async with taken:
                        try:
                            task.result()
                        except PikaciError as error:
                            self.failures[host.name] = error
                            host.failures += 1
                        else:
                            await held.enter_async_context(taken.pop_all())
                            return host
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            for _, taken in asked.values():
                await taken.aclose()
        return None

    def _worth_asking(self, hosts: list[RunHost]) -> list[RunHost]:
        """The hosts not known to be unusable; all, if there is no other."""
        usable = [host for host in hosts if host.refusal is None]
        if not usable:
            return hosts
        self.failures |= {host.name: host.refusal for host in hosts if host.refusal is not None}
        return usable

    async def _ask(self, host: RunHost, taken: AsyncExitStack) -> None:
        """Wait for room on a host, which is held by `taken`."""
        await host.open()
        try:
            await taken.enter_async_context(host.placement.hold(slot, self._resources))
        except OSError as error:
            if not host.placement.is_remote:
                raise
            why = error.strerror or error
            raise InfrastructureError(f"the slots on {host.name} can't be used: {why}") from error


def _less(host: RunHost) -> None:
    host.load -= 1
