from __future__ import annotations

import asyncio
import fcntl
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from disk import fill
from jerichoci.errors import InfrastructureError
from jerichoci.machine.slots import Capacity, Resources, holding, local_capacity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_SECS = 30.0
HOST = Capacity(cpus=2, memory_mib=1000)

HOLD = """
import asyncio, pathlib, sys
from jerichoci.machine.slots import Capacity, Resources, holding

async def main():
    async with holding(pathlib.Path(sys.argv[1]), Capacity(2, 1000), Resources(cpus=2)):
        print("holding", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which holds all CPUs."""
    argv = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"holding\n"
        yield process
        process.kill()


async def hold(slots: Path, wanted: Resources, capacity: Capacity = HOST) -> None:
    async with holding(slots, capacity, wanted):
        pass


async def is_free(slots: Path, wanted: Resources, within_secs: float = 0.3) -> bool:
    try:
        await asyncio.wait_for(hold(slots, wanted), within_secs)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    ("held", "wanted", "fits"),
    [
        ([Resources(cpus=1)], Resources(cpus=1), True),
        ([Resources(cpus=1)], Resources(cpus=2), False),
        # A job that does not say takes one CPU.
        ([Resources()], Resources(), True),
        ([Resources(), Resources()], Resources(), False),
        ([Resources(memory_mib=600)], Resources(memory_mib=401), False),
        ([Resources(memory_mib=600)], Resources(memory_mib=400), True),
        # One that asks for more than there is runs alone.
        ([Resources(cpus=64, memory_mib=2**40)], Resources(), False),
        ([Resources()], Resources(cpus=64), False),
    ],
)
async def test_jobs_share_what_a_host_has(
    tmp_path: Path, held: list[Resources], wanted: Resources, *, fits: bool
) -> None:
    async with AsyncExitStack() as stack:
        for each in held:
            await stack.enter_async_context(holding(tmp_path, HOST, each))
        assert await is_free(tmp_path, wanted, DEADLINE_SECS if fits else 0.3) == fits
    assert await is_free(tmp_path, wanted, DEADLINE_SECS)


async def test_a_host_runs_no_more_jobs_than_it_says(tmp_path: Path) -> None:
    two = Capacity(cpus=64, memory_mib=1000, jobs=2)
    async with holding(tmp_path, two, Resources()):
        async with holding(tmp_path, two, Resources()):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(hold(tmp_path, Resources(), two), 0.3)
        await hold(tmp_path, Resources(), two)


async def test_the_claim_of_a_dead_process_is_no_job(tmp_path: Path) -> None:
    one = Capacity(cpus=64, memory_mib=1000, jobs=1)
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "0123456789abcdef").write_text('{"cpus": 1, "memory_mib": 0}')
    await asyncio.wait_for(hold(tmp_path, Resources(), one), 30)


async def test_the_claim_of_an_older_process_counts(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    with (tmp_path / "claims" / "0123456789abcdef").open("w") as older:
        fcntl.flock(older, fcntl.LOCK_EX)
        older.write('{"cpus": 2, "memory_mib": 0}')
        older.flush()
        assert not await is_free(tmp_path, Resources())
        one = Capacity(cpus=64, memory_mib=1000, jobs=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hold(tmp_path, Resources(), one), 0.3)


async def test_another_process_counts(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    assert other.poll() is None
    assert not await is_free(tmp_path, Resources())


async def test_the_claim_of_a_killed_process_vanishes(
    tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    waiting = asyncio.create_task(hold(tmp_path, Resources(cpus=2)))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    other.kill()
    other.wait()
    await asyncio.wait_for(waiting, 30)
    assert list((tmp_path / "claims").iterdir()) == []


async def test_a_job_that_is_cancelled_while_it_waits_takes_nothing(tmp_path: Path) -> None:
    async with holding(tmp_path, HOST, Resources(cpus=2)):
        waiting = asyncio.create_task(hold(tmp_path, Resources()))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.wait({waiting})
    assert list((tmp_path / "claims").iterdir()) == []


async def test_a_claim_that_can_not_be_written_is_no_claim(small_disk: Path) -> None:
    await hold(small_disk, Resources())
    filler = fill(small_disk)
    with pytest.raises(OSError, match="No space left"):
        await hold(small_disk, Resources())
    assert list((small_disk / "claims").iterdir()) == []
    filler.unlink()
    await hold(small_disk, Resources())


@pytest.mark.parametrize(
    ("capacity", "held", "why"),
    [
        (HOST, Resources(cpus=2), "had no room for 1 CPUs and 0 MiB in"),
        (Capacity(64, 1000, jobs=1), Resources(), "0 MiB, or already ran 1 jobs, in"),
    ],
)
async def test_a_job_that_never_gets_room_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capacity: Capacity, held: Resources, why: str
) -> None:
    monkeypatch.setattr("jerichoci.machine.slots.SLOT_WAIT_SECS", 0.2)
    async with holding(tmp_path, capacity, held):
        with pytest.raises(InfrastructureError, match=why):
            await hold(tmp_path, Resources(), capacity)


def test_this_machine_has_something_to_give() -> None:
    found = local_capacity()
    assert found.cpus >= 1
    assert found.memory_mib > 100


def test_a_claim_is_never_more_than_there_is() -> None:
    claim = HOST.claim(Resources(cpus=3, memory_mib=1001))
    assert claim == {"cpus": 2, "memory_mib": 1000, "macos_vms": 0}
