"""A Mac runs two macOS VMs at a time, whatever else it has room for."""

from __future__ import annotations

import asyncio
import fcntl
import json
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.errors import InfrastructureError
from jerichoci.machine.slots import MACOS_VMS, Capacity, Claim, Resources, holding

if TYPE_CHECKING:
    from pathlib import Path

BIG = Capacity(cpus=64, memory_mib=2**20)
MAC = Resources(macos_vms=1)
SOON_SECS = 0.3
DEADLINE_SECS = 30
claims = st.fixed_dictionaries(
    {"cpus": st.integers(1, 8), "memory_mib": st.integers(0, 100), "macos_vms": st.integers(0, 1)}
)


async def hold(slots: Path, macos_vms: int = 1, capacity: Capacity = BIG) -> None:
    async with holding(slots, capacity, Resources(macos_vms=macos_vms)):
        pass


async def has_room(slots: Path, macos_vms: int = 1, capacity: Capacity = BIG) -> bool:
    try:
        await asyncio.wait_for(hold(slots, macos_vms, capacity), SOON_SECS)
    except TimeoutError:
        return False
    return True


async def test_two_vms_run_at_once_and_a_third_waits(tmp_path: Path) -> None:
    async with holding(tmp_path, BIG, MAC):
        async with holding(tmp_path, BIG, MAC):
            third = asyncio.create_task(hold(tmp_path))
            await asyncio.sleep(SOON_SECS)
            assert not third.done()
        await asyncio.wait_for(third, DEADLINE_SECS)


@pytest.mark.parametrize(
    ("held", "wanted", "capacity", "has_place"),
    [
        ([MAC] * MACOS_VMS, 0, BIG, True),
        ([Resources()] * 10, 1, BIG, True),
        ([Resources(cpus=2)], 1, Capacity(cpus=2, memory_mib=1000), False),
        ([MAC], 1, Capacity(cpus=64, memory_mib=1000, jobs=1), False),
    ],
    ids=["no VM beside two", "a VM beside other jobs", "no CPUs", "one job at a time"],
)
async def test_a_vm_is_one_of_two_and_needs_what_other_jobs_need(
    tmp_path: Path, held: list[Resources], wanted: int, capacity: Capacity, *, has_place: bool
) -> None:
    async with AsyncExitStack() as stack:
        for resources in held:
            await stack.enter_async_context(holding(tmp_path, capacity, resources))
        assert await has_room(tmp_path, wanted, capacity) is has_place


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
        assert await has_room(tmp_path, capacity=Capacity(cpus=4, memory_mib=0))
        assert not await has_room(tmp_path, capacity=Capacity(cpus=3, memory_mib=0))


async def test_a_claim_says_what_it_takes_of_the_hosts_vms(tmp_path: Path) -> None:
    async with holding(tmp_path, BIG, Resources(cpus=4, macos_vms=1)):
        (claim,) = (tmp_path / "claims").iterdir()
        assert json.loads(claim.read_bytes()) == {"cpus": 4, "memory_mib": 0, "macos_vms": 1}


async def test_a_job_that_waits_too_long_for_others_vms_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.machine.slots.SLOT_WAIT_SECS", 0.2)
    async with holding(tmp_path, BIG, MAC), holding(tmp_path, BIG, MAC):
        with pytest.raises(InfrastructureError, match="or already ran 2 macOS VMs, in"):
            await hold(tmp_path)


@given(st.lists(claims, max_size=6), claims)
def test_however_much_is_left_two_vms_are_all(taken: list[Claim], claim: Claim) -> None:
    vms = sum(other["macos_vms"] for other in [*taken, claim])
    assert BIG.has_room(claim, taken) == (vms <= MACOS_VMS)
