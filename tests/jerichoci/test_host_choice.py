from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from jerichoci.errors import InfrastructureError
from jerichoci.run.host_choice import HostChoice
from plans import job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jerichoci.run.fleet import RunHost


def host(name: str, *, is_reachable: bool = True) -> RunHost:
    @asynccontextmanager
    async def hold(*_wanted: object) -> AsyncIterator[None]:
        yield

    async def open_it() -> None:
        await asyncio.sleep(0)
        if not is_reachable:
            raise InfrastructureError("it is off")

    values: dict[str, Any] = {"name": name, "failures": 0, "load": 0, "refusal": None}
    placement = SimpleNamespace(hold=hold)
    return cast("RunHost", SimpleNamespace(**values, open=open_it, placement=placement))


async def test_jobs_that_begin_at_once_go_to_hosts_by_turns() -> None:
    hosts = [host("one"), host("two")]
    async with AsyncExitStack() as held:
        found = await asyncio.gather(
            *(HostChoice(hosts, job(name)).acquire(held, set()) for name in ("a", "b", "c", "d"))
        )
        assert sorted(chosen.name for chosen in found if chosen) == ["one", "one", "two", "two"]
        assert [each.load for each in hosts] == [2, 2]
    assert [each.load for each in hosts] == [0, 0]


async def test_who_only_asked_a_host_is_not_on_the_way_there_any_more() -> None:
    hosts = [host("off", is_reachable=False), host("two")]
    async with AsyncExitStack() as held:
        found = await HostChoice(hosts, job("a")).acquire(held, set())
        assert found is hosts[1]
        assert [each.load for each in hosts] == [0, 1]
    assert [each.failures for each in hosts] == [1, 0]
