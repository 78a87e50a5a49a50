"""What becomes of jobs when hosts go, are full, or are too few; and what stays in this process."""

from __future__ import annotations

import asyncio
import gc
import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import UsageError
from jerichoci.plan.plan import Resources, Retries
from jerichoci.record.record import Tool
from jerichoci.remote.pool import SessionPool
from jerichoci.run.engine import run_plan
from jerichoci.run.request import RunRequest, Source
from jerichoci.status import FailureKind, Status
from plans import RUN_ID, files_of, plan
from remote.agent_alone import until
from remote.away import away

if TYPE_CHECKING:
    from remote.conftest import WriteHosts
    from remote.far_host import FarHost
    from runner import Runner

LABELS = ("linux",)
RUNS = 20
BYTES = 3_000_000
"""Of a file: more than is sent at once."""
NO_RETRY = Retries(infrastructure=0)


@pytest.fixture
def pair(two_far_hosts: list[FarHost], hosts_config: WriteHosts) -> list[FarHost]:
    hosts_config(*two_far_hosts, labels=list(LABELS), capacity={"jobs": 1}, line_limit_secs=5)
    return two_far_hosts


async def test_who_gives_up_waiting_for_two_hosts_keeps_no_slot(
    runner: Runner, pair: list[FarHost]
) -> None:
    log = pair[0].work_dir / "holding"
    over = pair[0].work_dir / "over"
    hold = f"echo >> {log}; until [ -e {over} ]; do sleep 0.1; done"
    holders = [away(f"h{n}", hold, host) for n, host in enumerate(pair)]
    holding = asyncio.create_task(runner.run(*holders))
    await until(log.exists)
    waiting = runner.start(*(away(f"w{n}", "true", labels=LABELS) for n in range(4)))
    layout = runner.state.run(RUN_ID)
    await until(layout.root.exists)
    await asyncio.sleep(2)
    waiting.terminate()
    assert await asyncio.to_thread(waiting.wait, 30) == 0
    assert runner.ended().record.status is Status.CANCELLED
    over.touch()
    assert (await holding).record.status is Status.PASSED
    for host in pair:
        assert list((host.work_dir / "slots" / "claims").iterdir()) == []
    late = await runner.run(*(away(f"l{n}", "true", host) for n, host in enumerate(pair)))
    assert late.record.status is Status.PASSED


async def test_a_host_that_is_lost_gives_those_who_wait_for_it_to_the_other(
    runner: Runner, pair: list[FarHost]
) -> None:
    first = asyncio.create_task(
        runner.run(
            *(
                away(f"j{n}", "sleep 2", labels=LABELS, retries=Retries(infrastructure=1))
                for n in range(4)
            )
        )
    )
    await until(lambda: any("sleep 2" in line for line in pair[0].processes()))
    pair[0].power_off()
    try:
        ended = await first
    finally:
        pair[0].power_on()
    assert ended.record.status is Status.PASSED, [job.message for job in ended.record.jobs]
    assert {job.host for job in ended.record.jobs} == {pair[1].name}
    lost = [job for job in ended.record.jobs if len(job.attempts) > 1]
    assert [[row.host for row in job.attempts] for job in lost] == [[h.name for h in pair]]


async def test_one_job_at_a_time_and_one_of_them_chosen(
    runner: Runner, pair: list[FarHost]
) -> None:
    jobs = [away(f"j{n}", "sleep 0.2", labels=LABELS) for n in range(3)]
    ended = await runner.run(*jobs, max_jobs=1)
    spans = sorted((job.started_at or "", job.finished_at or "") for job in ended.record.jobs)
    assert all(one[1] <= two[0] for one, two in pairwise(spans))
    one = await runner.run(*jobs, away("other", "true", pair[0]), jobs=frozenset({"j1"}))
    assert [job.status for job in one.record.jobs].count(Status.SKIPPED) == 3
    assert one.job("j1").status is Status.PASSED


async def test_a_job_that_needs_one_on_another_host(runner: Runner, pair: list[FarHost]) -> None:
    ended = await runner.run(
        away("first", "true", pair[0]), away("second", "true", pair[1], after=["first"])
    )
    assert [ended.job(name).host for name in ("first", "second")] == [h.name for h in pair]
    failed = await runner.run(
        away("first", "false", pair[0]), away("second", "true", pair[1], after=["first"])
    )
    assert failed.job("second").status is Status.SKIPPED


async def test_a_job_sees_the_files_of_one_on_another_host(
    runner: Runner, pair: list[FarHost]
) -> None:
    left = f"echo a word >$PIKACI_ARTIFACTS/file; head -c {BYTES} /dev/zero >$PIKACI_ARTIFACTS/big"
    seen = (
        "cat $PIKACI_INPUT_FIRST/file; wc -c <$PIKACI_INPUT_FIRST/big; ! rm $PIKACI_INPUT_FIRST/big"
    )
    ended = await runner.run(
        away("first", left, pair[0]), away("second", seen, pair[1], **files_of("first"))
    )
    assert [ended.job(name).host for name in ("first", "second")] == [h.name for h in pair]
    assert ended.job("second").status is Status.PASSED, ended.log("second")
    said = ended.log("second")
    assert f"a word\n{BYTES}\n" in said
    assert "Read-only file system" in said
    for host in pair:
        assert [path for path in host.work_dir.rglob("big") if path.is_file()] == []


async def test_slots_that_cant_be_used_are_one_hosts_trouble(
    runner: Runner, pair: list[FarHost]
) -> None:
    await runner.run(*(away(f"h{n}", "true", host) for n, host in enumerate(pair)))
    (pair[0].work_dir / "slots" / "claims").rmdir()
    (pair[0].work_dir / "slots" / "claims").write_text("")
    ended = await runner.run(away("job", "true", labels=LABELS, retries=NO_RETRY))
    assert ended.job("job").host == pair[1].name
    only = await runner.run(
        away("job", "true", pair[0], retries=NO_RETRY), away("good", "sleep 2", pair[1])
    )
    assert only.job("good").status is Status.PASSED
    assert only.job("job").failure_kind is FailureKind.INFRASTRUCTURE
    assert f"the slots on {pair[0].name} can't be used" in (only.job("job").message or "")


async def test_a_host_that_is_in_no_file_any_more(
    runner: Runner, pair: list[FarHost], hosts_config: WriteHosts
) -> None:
    hosts_config(pair[1])
    with pytest.raises(UsageError, match=f"`?{pair[0].name}`?") as raised:
        await runner.run(away("job", "true", pair[0]))
    assert raised.value.hint


async def test_nothing_piles_up_in_a_process_with_many_runs(
    runner: Runner, pair: list[FarHost]
) -> None:
    async def run() -> None:
        node = away("job", "echo x > $PIKACI_ARTIFACTS/x", pair[0], resources=Resources(cpus=1))
        source = Source(tree=runner.tree, snapshot_id=runner.tree)
        asked = RunRequest(plan=plan(node), source=source, tool=Tool(version="0"))
        record = await run_plan(runner.state, asked, (), pool=pool)
        assert record.status is Status.PASSED

    async with SessionPool() as pool:
        for _ in range(3):
            await run()
        gc.collect()
        await asyncio.sleep(0.5)
        before = held()
        for _ in range(RUNS):
            await run()
        gc.collect()
        await asyncio.sleep(0.5)
        after = held()
    assert all(late <= early + 2 for early, late in zip(before, after, strict=True)), (
        before,
        after,
    )


def held() -> tuple[int, int, int]:
    """Descriptors, tasks and threads."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return descriptors, len(asyncio.all_tasks()), threading.active_count()
