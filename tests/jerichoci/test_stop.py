from __future__ import annotations

import asyncio

import pytest

from jerichoci.machine.stop import Stop, StoppedError, StopReason


async def test_the_first_reason_stays_and_only_a_second_cancel_stops_now() -> None:
    stop = Stop()
    stop.set(StopReason.CANCELLED)
    stop.set(StopReason.BROKEN)
    assert stop.reason is StopReason.CANCELLED
    assert not stop.stop_now.is_set()
    stop.set(StopReason.CANCELLED)
    assert stop.stop_now.is_set()


async def test_work_that_ends_first_gives_its_result() -> None:
    assert await Stop().unless(asyncio.sleep(0, "result")) == "result"


async def test_work_that_fails_raises_its_own_error() -> None:
    async def work() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await Stop().unless(work())


async def test_work_is_over_when_the_stop_is_told_of() -> None:
    stop, ended = Stop(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0)
            ended.set()

    asyncio.get_running_loop().call_soon(stop.set, StopReason.CANCELLED)
    with pytest.raises(StoppedError):
        await stop.unless(work())
    assert ended.is_set()
