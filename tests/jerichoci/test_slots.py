"""What jobs take of a host, as long as it has that; a Mac runs two macOS VMs at a time."""

from __future__ import annotations

import asyncio
import fcntl
import json
import subprocess
import sys
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disk import fill
from jerichoci.errors import InfrastructureError
from jerichoci.machine.slots import MACOS_VMS, Capacity, Resources, holding, local_capacity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_SECS = 30.0
SOON_SECS = 0.3
HOST = Capacity(cpus=2, memory_mib=1000)
BIG = Capacity(cpus=64, memory_mib=2**20)
TWO = Capacity(cpus=64, memory_mib=1000, jobs=2)
ONE = Capacity(cpus=64, memory_mib=1000, jobs=1)
MAC = Resources(macos_vms=1)
claims = st.fixed_dictionaries(
    {"cpus": st.integers(1, 8), "memory_mib": st.integers(0, 100), "macos_vms": st.integers(0, 1)}
)

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


async def is_free(
    slots: Path,
    wanted: Resources,
    capacity: Capacity = HOST,
    within_secs: float = SOON_SECS,
) -> bool:
    try:
        await asyncio.wait_for(hold(slots, wanted, capacity), within_secs)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    ("capacity", "held", "wanted", "fits"),
    [
        (HOST, [Resources(cpus=1)], Resources(cpus=1), True),
        (HOST, [Resources(cpus=1)], Resources(cpus=2), False),
        # A job that does not say takes one CPU.
        (HOST, [Resources()], Resources(), True),
        (HOST, [Resources(), Resources()], Resources(), False),
        (HOST, [Resources(memory_mib=600)], Resources(memory_mib=401), False),
        (HOST, [Resources(memory_mib=600)], Resources(memory_mib=400), True),
        # One that asks for more than there is runs alone.
        (HOST, [Resources(cpus=64, memory_mib=2**40)], Resources(), False),
        (HOST, [Resources()], Resources(cpus=64), False),
        # A host runs no more jobs than it says.
        (TWO, [Resources()], Resources(), True),
        (TWO, [Resources(), Resources()], Resources(), False),
        # A VM is one of two, and needs what other jobs need.
        (BIG, [MAC] * MACOS_VMS, MAC, False),
        (BIG, [MAC] * MACOS_VMS, Resources(), True),
        (BIG, [Resources()] * 10, MAC, True),
        (HOST, [Resources(cpus=2)], MAC, False),
        (ONE, [MAC], MAC, False),
    ],
)
async def test_jobs_share_what_a_host_has(
    tmp_path: Path, capacity: Capacity, held: list[Resources], wanted: Resources, *, fits: bool
) -> None:
    async with AsyncExitStack() as stack:
        for each in held:
            await stack.enter_async_context(holding(tmp_path, capacity, each))
        within_secs = DEADLINE_SECS if fits else SOON_SECS
        assert await is_free(tmp_path, wanted, capacity, within_secs) == fits
    assert await is_free(tmp_path, wanted, capacity, DEADLINE_SECS)


@given(st.lists(claims, max_size=6), claims)
def test_however_much_is_left_two_vms_are_all(
    taken: list[dict[str, int]], claim: dict[str, int]
) -> None:
    vms = sum(other["macos_vms"] for other in [*taken, claim])
    assert BIG.has_room(claim, taken) == (vms <= MACOS_VMS)


async def test_a_claim_says_what_it_takes(tmp_path: Path) -> None:
    async with holding(tmp_path, BIG, Resources(cpus=4, macos_vms=1)):
        (claim,) = (tmp_path / "claims").iterdir()
        assert json.loads(claim.read_bytes()) == {"cpus": 4, "memory_mib": 0, "macos_vms": 1}


async def test_the_claim_of_a_dead_process_is_no_job(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "0123456789abcdef").write_text('{"cpus": 1, "memory_mib": 0}')
    assert await is_free(tmp_path, Resources(), ONE, DEADLINE_SECS)


@pytest.mark.parametrize("written", [{"cpus": 1, "memory_mib": 0}, {"cpus": 1, "later": 7}])
async def test_claims_of_other_versions_count_as_far_as_they_say(
    tmp_path: Path, written: dict[str, int]
) -> None:
    (tmp_path / "claims").mkdir()
    with ExitStack() as held:
        for number in range(MACOS_VMS + 1):
            claim = held.enter_context((tmp_path / "claims" / f"{number:016x}").open("w"))
            fcntl.flock(claim, fcntl.LOCK_EX)
            claim.write(json.dumps(written))
            claim.flush()
        assert await is_free(tmp_path, MAC, Capacity(cpus=4, memory_mib=0), DEADLINE_SECS)
        assert not await is_free(tmp_path, MAC, Capacity(cpus=3, memory_mib=0))
        assert not await is_free(tmp_path, Resources(), ONE)


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
    ("capacity", "held", "wanted", "why"),
    [
        (HOST, [Resources(cpus=2)], Resources(), "had no room for 1 CPUs and 0 MiB in"),
        (ONE, [Resources()], Resources(), "0 MiB, or already ran 1 jobs, in"),
        (BIG, [MAC, MAC], MAC, "or already ran 2 macOS VMs, in"),
    ],
)
async def test_a_job_that_never_gets_room_is_told_why(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capacity: Capacity,
    *,
    held: list[Resources],
    wanted: Resources,
    why: str,
) -> None:
    async with AsyncExitStack() as stack:
        for each in held:
            await stack.enter_async_context(holding(tmp_path, capacity, each))
        monkeypatch.setattr("jerichoci.machine.slots.SLOT_WAIT_SECS", 0.2)
        with pytest.raises(InfrastructureError, match=why):
            await hold(tmp_path, wanted, capacity)


def test_this_machine_has_something_to_give() -> None:
    found = local_capacity()
    assert found.cpus >= 1
    assert found.memory_mib > 100


def test_a_claim_is_never_more_than_there_is() -> None:
    claim = HOST.claim(Resources(cpus=3, memory_mib=1001))
    assert claim == {"cpus": 2, "memory_mib": 1000, "macos_vms": 0}
