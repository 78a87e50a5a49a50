from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from jerichoci.errors import UsageError
from jerichoci.plan.plan import Resources, Retries
from jerichoci.status import FailureKind, Status
from plans import RUN_ID, commanded, job
from remote.away import away
from remote.leftovers import pikaci

if TYPE_CHECKING:
    from pathlib import Path

    from remote.conftest import WriteHosts
    from remote.far_host import FarHost
    from runner import Ended, Runner

LABELS = ("linux",)
NO_RETRY = Retries(infrastructure=0)
QUICK_SECS = 120.0
"""Far more than a job takes on a busy machine."""


@pytest.fixture
def pair(two_far_hosts: list[FarHost], hosts_config: WriteHosts) -> list[FarHost]:
    """Two hosts with a label, each with room for two jobs."""
    hosts_config(*two_far_hosts, labels=list(LABELS), capacity={"jobs": 2, "cpus": 64})
    return two_far_hosts


def hosts_of(ended: Ended) -> Counter[str | None]:
    return Counter(row.host for row in ended.record.jobs)


async def test_jobs_go_to_whichever_host_has_room(runner: Runner, pair: list[FarHost]) -> None:
    jobs = [away(f"j{number}", "sleep 1", labels=LABELS) for number in range(4)]
    ended = await runner.run(*jobs)
    assert ended.record.status is Status.PASSED
    assert hosts_of(ended) == {host.name: 2 for host in pair}


async def test_no_more_jobs_are_on_a_host_at_once_than_it_has_room_for(
    runner: Runner, pair: list[FarHost]
) -> None:
    log = pair[0].work_dir / "log"
    text = f"echo + >> {log}; sleep 0.2; echo - >> {log}"
    await runner.run(*(away(f"j{number}", text, pair[0]) for number in range(6)))
    running = most = 0
    for row in log.read_text().split():
        running += 1 if row == "+" else -1
        most = max(most, running)
    assert most == 2
    assert running == 0


async def test_room_counts_across_processes(runner: Runner, pair: list[FarHost]) -> None:
    started = pair[0].work_dir / "started"
    first = runner.start(
        *(away(f"j{n}", f"echo >> {started}; sleep 60", pair[0]) for n in range(2))
    )
    try:
        await asyncio.to_thread(
            wait_for, lambda: started.exists() and len(started.read_text().splitlines()) == 2
        )
        second = asyncio.create_task(runner.run(away("late", "true", pair[0])))
        _, pending = await asyncio.wait({second}, timeout=2)
        assert pending
        assert not (await runner.run(away("other", "true", labels=LABELS))).job("other").passed_over
    finally:
        first.terminate()
        first.wait()
    assert (await second).record.status is Status.PASSED


@pytest.mark.usefixtures("in_order")
async def test_a_host_that_cant_be_reached_is_passed_over(
    runner: Runner, pair: list[FarHost]
) -> None:
    pair[0].stop_sshd()
    try:
        ended = await runner.run(
            *(away(f"j{n}", "true", labels=LABELS, retries=NO_RETRY) for n in range(3))
        )
    finally:
        pair[0].start_sshd()
    assert ended.record.status is Status.PASSED
    assert hosts_of(ended) == {pair[1].name: 3}
    (passed_over,) = ended.job("j0").passed_over
    assert passed_over.host == pair[0].name
    assert "refused the connection" in passed_over.reason
    status = json.loads(ended.layout.status("j0").read_bytes())
    assert status["passed_over"][0]["host"] == pair[0].name
    shown = pikaci(runner.state, "status", ended.record.run_id).out
    assert f"passed over for j0: {pair[0].name}: " in shown
    row = next(line for line in shown.splitlines() if line.startswith("j0 "))
    assert row.split()[:3] == ["j0", pair[1].name, "passed"]


async def test_a_job_that_no_host_can_take_says_why(runner: Runner, pair: list[FarHost]) -> None:
    for host in pair:
        host.stop_sshd()
    try:
        ended = await runner.run(away("lost", labels=LABELS, retries=NO_RETRY))
    finally:
        for host in pair:
            host.start_sshd()
    lost = ended.job("lost")
    assert lost.failure_kind is FailureKind.INFRASTRUCTURE
    assert lost.cause is not None
    assert lost.cause.code == "host_unavailable"
    assert {row.host for row in lost.passed_over} == {host.name for host in pair}
    assert lost.attempts == []


@pytest.mark.usefixtures("in_order")
async def test_a_host_that_cant_be_set_up_is_passed_over(
    runner: Runner, pair: list[FarHost]
) -> None:
    # Its private repository can't be made: something else has that name.
    (pair[0].work_dir / "git").parent.mkdir(parents=True, exist_ok=True)
    (pair[0].work_dir / "git").write_text("")
    ended = await runner.run(away("only", "true", labels=LABELS, retries=NO_RETRY))
    only = ended.job("only")
    assert only.status is Status.PASSED
    assert only.host == pair[1].name
    assert [(row.host, row.failure_kind) for row in only.attempts] == [
        (pair[0].name, FailureKind.INFRASTRUCTURE),
        (pair[1].name, None),
    ]
    ((host, reason),) = [(row.host, row.reason) for row in only.passed_over]
    assert host == pair[0].name
    assert reason.startswith(f"no snapshot can be had on {host}: ")


async def test_a_host_command_runs_where_its_job_does(runner: Runner, pair: list[FarHost]) -> None:
    made = commanded("made", "hostname > out; pwd >> out").with_(
        placement="remote_ssh", placement_config={"labels": list(LABELS)}
    )
    job = away("user", "cat $PIKACI_INPUT_MADE/out", labels=LABELS, needs=["made"])
    ended = await runner.run(made, job)
    assert ended.record.status is Status.PASSED
    host = next(host for host in pair if host.name == ended.job("user").host)
    assert any(line.startswith(str(host.work_dir)) for line in ended.said("user"))


async def test_a_job_cant_need_what_is_made_on_another_host(
    runner: Runner, pair: list[FarHost]
) -> None:
    made = commanded("made", "echo > out")
    with pytest.raises(UsageError, match="job user needs made, which is made on another host"):
        await runner.run(made, away("user", "true", pair[0], needs=["made"]))
    assert list(runner.state.runs.iterdir()) == []


async def test_a_job_that_fits_no_host_is_refused_before_anything_is_made(
    runner: Runner, pair: list[FarHost]
) -> None:
    huge = away("huge", "true", labels=LABELS, resources=Resources(cpus=4096))
    with pytest.raises(UsageError, match="4096"):
        await runner.run(huge)
    with pytest.raises(UsageError, match="no host"):
        await runner.run(away("where", "true", labels=("mac",)))
    with pytest.raises(UsageError, match="nowhere"):
        await runner.run(
            job("lost").with_(placement="remote_ssh", placement_config={"host": "nowhere"})
        )
    assert list(runner.state.runs.iterdir()) == []
    assert not (pair[0].work_dir / "runs").exists()


async def test_a_target_for_another_kind_of_machine_is_refused(
    runner: Runner, pair: list[FarHost]
) -> None:
    from jerichoci.record.record import Tool
    from jerichoci.run.engine import run_plan
    from jerichoci.run.request import RunRequest, Source
    from plans import plan

    asked = RunRequest(
        plan=plan(away("mac", "true", pair[0])).with_(system="aarch64-darwin"),
        source=Source(tree=runner.tree, snapshot_id=runner.tree),
        tool=Tool(version="0"),
    )
    with pytest.raises(UsageError, match=f"for aarch64-darwin, host {pair[0].name} is"):
        await run_plan(runner.state, asked, [])


async def test_nothing_is_left_on_any_host(runner: Runner, pair: list[FarHost]) -> None:
    jobs = [away(f"j{number}", "sleep 0.1", labels=LABELS) for number in range(6)]
    ended = await runner.run(*jobs, away("bad", "exit 3", labels=LABELS), run_id=RUN_ID)
    # What fails is not tried elsewhere.
    bad = ended.job("bad")
    assert (bad.failure_kind, bad.exit_code) == (FailureKind.TEST_FAILURE, 3)
    assert len(bad.attempts) == 1
    for host in pair:
        # A relay that has said its last word takes a moment to end.
        await asyncio.to_thread(wait_for, lambda host=host: not host.processes())
        assert left_in(host.work_dir) == {"runs": [], "sessions": [], "slots/claims": []}
    assert list((runner.state.root / "elsewhere" / "hosts").glob("*.json")) == []


def left_in(work: Path) -> dict[str, list[str]]:
    names = ("runs", "sessions", "slots/claims")
    return {name: sorted(path.name for path in (work / name).iterdir()) for name in names}


async def test_a_host_that_does_not_answer_keeps_nobody_waiting(
    runner: Runner, pair: list[FarHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.remote.ssh.connection.CONNECT_SECS", 2 * QUICK_SECS)
    pair[0].cut()
    try:
        async with asyncio.timeout(QUICK_SECS):
            ended = await runner.run(away("quick", "true", labels=LABELS))
    finally:
        pair[0].join()
    assert ended.job("quick").host == pair[1].name


@pytest.mark.usefixtures("in_order")
async def test_a_job_that_passed_elsewhere_says_nothing_of_the_failure(
    runner: Runner, pair: list[FarHost]
) -> None:
    (pair[0].work_dir / "git").parent.mkdir(parents=True, exist_ok=True)
    (pair[0].work_dir / "git").write_text("")
    made = commanded("made", "echo fine > out").with_(
        placement="remote_ssh", placement_config={"labels": list(LABELS)}
    )
    job = away("user", "cat $PIKACI_INPUT_MADE/out", labels=LABELS, needs=["made"])
    ended = await runner.run(made, job)
    user = ended.job("user")
    assert (user.status, user.cause, user.message) == (Status.PASSED, None, None)
    events = [json.loads(row) for row in ended.layout.events.read_text().splitlines()]
    outcomes = [row["outcome"] for row in events if row["event"] == "prepare_finished"]
    assert outcomes == ["passed"]
