"""Guests whose memory nothing limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from incus_jobs import guest_job, run_guests
from jerichoci.plan.plan import Resources
from jerichoci.runtime.incus.client import Incus
from jerichoci.status import Status

if TYPE_CHECKING:
    from incus_fake import FakeIncus
    from runner import Runner

MISSING = "Couldn't find the CGroup memory controller"


@pytest.mark.parametrize(
    ("declared", "said", "count"),
    [(512, False, 1), (None, False, 0), (512, True, 0), (512, "no", 0)],
)
async def test_a_declared_limit_that_is_none_is_noted_in_the_record(
    runner: Runner, fake: FakeIncus, declared: int | None, said: object, count: int
) -> None:
    fake.job = lambda started: started.end(memory_limited=said)
    job = guest_job("a", resources=Resources(memory_mib=declared))
    ended = await run_guests(runner, job)
    assert ended.record.status is Status.PASSED
    notes = ended.job("a").notes
    assert len(notes) == count
    assert all("512 MiB (`resources.memoryMib`) were no limit" in note for note in notes)


def test_incus_says_whether_it_ignores_limits(fake: FakeIncus) -> None:
    incus = Incus(fake.socket, "pikaci")
    for warnings, ignores in (
        ([], False),
        ([(MISSING, "new")], True),
        ([(MISSING, "acknowledged")], True),
        ([(MISSING, "resolved")], False),
        ([("Couldn't find the CGroup blkio.weight", "new")], False),
    ):
        fake.warnings = warnings
        assert incus.ignores_memory_limits() is ignores, warnings
