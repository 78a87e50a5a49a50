"""A work directory is cleaned of what died, and of what is beyond bounds."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from typing import TYPE_CHECKING

import pytest

from jerichoci.placement.host_gc import Bounds, beyond
from jerichoci.remote.agent import host_gc
from jerichoci.remote.agent.agent_operations import open_run
from jerichoci.remote.agent.agent_work import AgentWork
from jerichoci.remote.agent.host_gc import KEPT, HostCollector, using
from jerichoci.state.owner import owning

if TYPE_CHECKING:
    from pathlib import Path

DAY_SECS = 24 * 3600.0
MANY = 1000


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for name in ("runs", "sessions", "snapshots", "slots", "agent"):
        (tmp_path / name).mkdir()
    return tmp_path


def age(path: Path, secs: float) -> None:
    when = time.time() - secs
    os.utime(path, (when, when))


def snapshot(work: Path, name: str, days: float, blocks: int = 1) -> Path:
    path = work / "snapshots" / name
    path.mkdir()
    (path / "file").write_bytes(b"x" * 4096 * blocks)
    age(path, days * DAY_SECS)
    return path


def doomed(work: Path, bounds: Bounds, leased: set[str]) -> list[str]:
    return [path.name for path, _ in beyond(bounds, work / "snapshots", leased)]


def test_those_go_first_that_were_not_used_for_the_longest(work: Path) -> None:
    snapshot(work, ".tmp-a", 10)
    for days, name in enumerate("abcd", 1):
        snapshot(work, name, days)
    assert doomed(work, Bounds(2, MANY, MANY), set()) == ["d", "c"]
    assert doomed(work, Bounds(MANY, 3, MANY), set()) == ["d", "c"]
    assert doomed(work, Bounds(MANY, MANY, MANY), set()) == []
    assert doomed(work, Bounds(0, MANY, MANY), set()) == ["d", "c", "b", "a"]
    # What is needed or was just used is kept, and counts.
    snapshot(work, "now", 0)
    assert doomed(work, Bounds(0, 0, 0), {"c"}) == ["d", "b", "a"]
    assert doomed(work, Bounds(3, MANY, MANY), {"c"}) == ["d", "b"]


def test_a_file_of_several_snapshots_is_counted_once(work: Path) -> None:
    first = snapshot(work, "a", 1, 200)
    second = work / "snapshots" / "b"
    second.mkdir()
    os.link(first / "file", second / "file")
    age(second, 2 * DAY_SECS)
    assert doomed(work, Bounds(MANY, MANY, 1), set()) == []
    snapshot(work, "c", 3, 200)
    assert doomed(work, Bounds(MANY, MANY, 1), set()) == ["c"]


def test_runs_without_an_owner_go_unless_they_are_kept(work: Path) -> None:
    runs = work / "runs"
    for name in ("owned", "dead", "kept", "over", "wrong", "x.0123.gone"):
        (runs / name / "scratch").mkdir(parents=True)
    (runs / "kept" / KEPT).write_text(str(time.time() + 60))
    (runs / "over" / KEPT).write_text(str(time.time() - 60))
    (runs / "wrong" / KEPT).write_text("for ever")
    with owning(runs / "owned"):
        done = HostCollector(work).reap(frozenset())
        assert done.runs == ["dead", "over", "wrong"]
        assert done.left == ["kept", "owned"]
        assert sorted(path.name for path in runs.iterdir()) == ["kept", "owned"]
        done = HostCollector(work).reap({"kept", "owned"})
    assert (done.runs, done.left, done.problems) == (["kept"], ["owned"], [])


def test_a_session_without_an_agent_goes_when_it_isnt_just_beginning(work: Path) -> None:
    sessions = work / "sessions"
    for name in ("dead", "young", "live", "never"):
        (sessions / name).mkdir()
        if name != "never":
            (sessions / name / "lock").touch()
    for name in ("dead", "live", "never"):
        age(sessions / name, DAY_SECS)
    with (sessions / "live" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert HostCollector(work).reap(frozenset()).sessions == ["dead", "never"]
    assert sorted(path.name for path in sessions.iterdir()) == ["live", "young"]


async def test_an_agent_that_doesnt_end_is_told_of(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_gc, "AGENT_END_SECS", 0.1)
    session = work / "sessions" / "stuck"
    session.mkdir()
    with (session / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = await HostCollector(work).end_sessions(["stuck", "gone"])
    assert (done.ended, done.stuck) == ([], ["stuck"])
    assert session.exists()


def test_what_was_left_half_made_goes_when_it_is_old(work: Path) -> None:
    old, young = work / "agent" / "1.tmp-1", work / "agent" / "2.tmp-2"
    for path in (old, young):
        path.mkdir()
    probe = work / ".probe-1"
    probe.touch()
    for path in (old, probe):
        age(path, DAY_SECS)
    HostCollector(work).reap(frozenset())
    assert (old.exists(), probe.exists(), young.exists()) == (False, False, True)


async def test_an_agent_stays_while_one_runs_from_it(work: Path) -> None:
    home = work / "agent" / "0123"
    home.mkdir()
    age(home, 3 * DAY_SECS)

    async def removed(days: int) -> list[str]:
        return (await HostCollector(work).collect(Bounds(0, days, 0), dry_run=False)).agents

    with using(home):
        assert await removed(1) == []
    assert await removed(4) == []
    assert (await removed(1), home.exists()) == (["0123"], False)


async def test_a_run_that_begins_while_others_reap_is_left_alone(work: Path) -> None:
    told = {"search_path": [], "nix_settings": [], "nix_offline": True, "capacity": {}}
    agent = AgentWork(work, told)
    is_over = False

    def reap() -> None:
        while not is_over:
            HostCollector(work).reap(frozenset())

    reaping = [asyncio.create_task(asyncio.to_thread(reap)) for _ in range(2)]
    try:
        for number in range(100):
            await agent.hold("run", open_run(agent, f"run-{number}"))
            await asyncio.sleep(0.002)
            assert (work / "runs" / f"run-{number}" / "scratch").is_dir()
            await agent.release("run")
    finally:
        is_over = True
        await asyncio.gather(*reaping)
