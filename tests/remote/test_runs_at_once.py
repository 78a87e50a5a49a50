"""Several runs on one host at once, and whoever cleans there meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from jerichoci.cleanup.remote import collect_hosts, reap_hosts
from jerichoci.errors import UsageError
from jerichoci.nix.command import NixOptions
from jerichoci.placement.operations import make_directory
from jerichoci.plan.hosts import known_hosts_of_run, load_hosts
from jerichoci.remote.host_notes import host_notes
from jerichoci.remote.placement import RemotePlacement
from jerichoci.remote.pool import SessionPool
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.state.layout import StateLayout
from jerichoci.status import Status
from plans import RUN_ID
from remote.agent_alone import until
from remote.away import away
from runner import Runner
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path

    from remote.conftest import WriteHosts
    from remote.far_host import FarHost

OTHER_RUN = "20260131T235959Z-89abcdef"
MANY = 60


def placed(state: StateLayout, host: FarHost, pool: SessionPool) -> RemotePlacement:
    known = known_hosts_of_run({}, load_hosts())[host.name]
    return RemotePlacement(pool.session(known, NixOptions()), state, NixOptions())


async def test_a_run_that_has_no_directory_yet_is_not_taken_for_dead(
    layout: StateLayout, host: FarHost
) -> None:
    async with SessionPool() as pool:
        placement = placed(layout, host, pool)
        async with placement.serving(RUN_ID):
            (tidied,) = await reap_hosts(layout)
            assert (tidied.problem, tidied.sessions, tidied.runs) == (None, [], [])
            await placement.do(make_directory, placement.run_directory(RUN_ID) / "still-there")
    assert list(host_notes(layout).all()) == []


async def test_a_session_that_another_run_uses_stays_when_a_kept_run_is_over(
    layout: StateLayout, host: FarHost
) -> None:
    async with SessionPool() as pool:
        kept, other = (placed(layout, host, pool) for _ in range(2))
        async with kept.serving(RUN_ID):
            await kept.keep(kept.run_directory(RUN_ID))
        assert [note.run_id for note in host_notes(layout).all()] == [RUN_ID]
        async with other.serving(OTHER_RUN):
            (tidied,) = await reap_hosts(layout)
            assert (tidied.problem, tidied.sessions) == (None, [])
            await other.do(make_directory, other.run_directory(OTHER_RUN) / "still-there")


async def test_a_run_id_is_used_once_at_a_time(layout: StateLayout, host: FarHost) -> None:
    async with SessionPool() as pool, SessionPool() as other:
        placement = placed(layout, host, pool)
        async with placement.serving(RUN_ID):
            with pytest.raises(UsageError, match=f"run {RUN_ID} is on host {host.name}"):
                async with placed(layout, host, other).serving(RUN_ID):
                    pass
            assert len(list(host_notes(layout).all())) == 1


@pytest.mark.parametrize("same_root", [True, False])
async def test_many_runs_with_snapshots_of_their_own_while_others_clean(
    tmp_path: Path, far_host: FarHost, hosts_config: WriteHosts, *, same_root: bool
) -> None:
    hosts_config(far_host, keep={"count": 0, "days": 0, "mib": 0}, capacity={"cpus": 100})
    user = UserTree(tmp_path / "user")
    user.write("same", "same\n")
    runners = []
    for number in range(6):
        state = StateLayout(tmp_path / ("state" if same_root else f"state{number}"))
        state.make()
        user.write("number", f"{number // 2}\n")
        runners.append(Runner(state, (await take_snapshot(state.root, user.root)).tree))

    async def clean() -> None:
        while True:
            for runner in runners[:2]:
                (done,) = await collect_hosts(runner.state, dry_run=False)
                assert (done.problem, done.problems) == (None, [])

    cleaning = asyncio.create_task(clean())
    try:
        for _ in range(2):
            job = away("job", "cat number; sleep 0.3; cat same number", far_host)
            ends = await asyncio.gather(*(runner.run(job) for runner in runners))
            for number, ended in enumerate(ends):
                assert ended.record.status is Status.PASSED, ended.log("job")
                assert len(ended.job("job").attempts) == 1, ended.log("job")
                mine = str(number // 2)
                assert ended.said("job") == [mine, "same", mine]
                assert ended.job("job").passed_over == []
            assert not cleaning.done(), cleaning.exception()
    finally:
        cleaning.cancel()
        await asyncio.gather(cleaning, return_exceptions=True)
    assert list((far_host.work_dir / "runs").iterdir()) == []


async def test_a_connection_has_room_for_many_jobs_at_once(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host, capacity={"cpus": MANY})
    text = "echo $PIKACI_JOB_ID; sleep 3; echo x > $PIKACI_ARTIFACTS/x"
    ended = await runner.run(*(away(f"j{number}", text, far_host) for number in range(MANY)))
    assert ended.record.status is Status.PASSED
    assert all(len(row.attempts) == 1 and len(row.artifacts) == 1 for row in ended.record.jobs)
    await until(lambda: far_host.processes() == [])


async def test_the_runs_of_a_batch_share_the_connection_to_a_host(
    runner: Runner, host: FarHost
) -> None:
    jobs = [[away("job", f"cat README; echo {number}", host)] for number in range(3)]
    before = host.log().count("Accepted publickey")
    ends = await runner.run_batch(*jobs)
    for number, ended in enumerate(ends):
        assert ended.record.status is Status.PASSED, ended.log("job")
        assert ended.said("job") == ["hello", str(number)]
    assert host.log().count("Accepted publickey") == before + 1
    assert list((host.work_dir / "runs").iterdir()) == []
