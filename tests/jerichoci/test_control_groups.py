"""A limit of memory for a job that is a process of a host."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from jerichoci.machine import control_groups
from jerichoci.machine.control_groups import (
    ControlGroup,
    JobGroups,
    Limits,
    limited,
    places,
    what_can_be_limited,
)
from jerichoci.plan.plan import Resources
from jerichoci.status import FailureKind, Status
from plans import job

if TYPE_CHECKING:
    from runner import Runner

LIMIT = Resources(memory_mib=64)
HOG = f"exec {sys.executable} -c 'bytearray(1 << 29)'"
KILLED = "was killed: out of memory, limit 64 MiB (`resources.memoryMib`)"
OF_OLD = "9:name=systemd:/\n4:memory:/a/b\n0::/"
OLD_MOUNTS = """31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"""
NEW_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"


@pytest.mark.parametrize(
    ("groups", "mounts", "found"),
    [
        (OF_OLD, OLD_MOUNTS, [("/sys/fs/cgroup/memory/a/b", 1)]),
        (
            "0::/user.slice/app.slice",
            NEW_MOUNTS,
            [
                ("/sys/fs/cgroup/user.slice/app.slice", 2),
                ("/sys/fs/cgroup/user.slice", 2),
                ("/sys/fs/cgroup", 2),
            ],
        ),
        ("0::/docker/x", NEW_MOUNTS.replace(" / /sys", " /docker/x /sys"), [("/sys/fs/cgroup", 2)]),
        ("0::/", NEW_MOUNTS.replace(" / /sys", " /elsewhere /sys"), []),
        ("", "", []),
    ],
)
def test_groups_are_made_where_this_process_is(
    groups: str, mounts: str, found: list[tuple[str, int]]
) -> None:
    assert [(str(group.path), group.version) for group in places(groups, mounts, "memory")] == found


async def needs_limits() -> None:
    await needs("memory")


async def needs(controller: str) -> None:
    if controller not in await what_can_be_limited():
        pytest.skip(f"no control groups for {controller} can be made here")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (HOG, KILLED),
        (
            f"({HOG}) || exit 3",
            f"exited with 3; some of it {KILLED}",
        ),
    ],
)
async def test_a_job_beyond_its_memory_is_told_so(
    runner: Runner, command: str, message: str
) -> None:
    await needs_limits()
    told = f"cat /proc/self/cgroup; {command}"
    run = await runner.run(job("a", told, resources=LIMIT), job("b", "exit 137"))
    assert run.job("a").failure_kind is FailureKind.TEST_FAILURE
    assert run.job("a").message == f"job a {message}"
    assert run.job("a").execution["memory"] == "limited"
    assert run.job("b").message == "job b exited with 137 (128 + 9: SIGKILL)"
    assert is_gone(run.said("a"))


async def test_a_job_that_passes_beyond_its_memory_has_a_note(runner: Runner) -> None:
    await needs_limits()
    run = await runner.run(job("a", f"({HOG}) || true", resources=LIMIT))
    assert run.record.status is Status.PASSED
    assert run.job("a").notes == [f"some of it {KILLED}"]


async def test_a_job_within_its_memory_passes_and_leaves_no_group(runner: Runner) -> None:
    await needs_limits()
    command = "sleep 60 & setsid sleep 60 & cat /proc/self/cgroup"
    run = await runner.run(job("a", command, resources=LIMIT))
    assert (run.record.status, run.job("a").notes) == (Status.PASSED, [])
    assert is_gone(run.said("a"))


async def test_the_group_of_a_process_that_died_goes_with_what_is_in_it() -> None:
    await needs_limits()
    async with limited(Limits(memory_mib=64)) as made:
        (group,) = made.groups
        stale = group.path.with_name(f"{group.path.name}-stale")
        stale.mkdir()
        argv = JobGroups((ControlGroup(stale, group.version),)).entering(["sleep", "600"])
        left = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL)
        while left.returncode is None or stale.exists():
            control_groups.remove_stale_groups()
            await asyncio.sleep(0.02)
        assert group.path.exists()


async def test_where_memory_can_not_be_limited_that_is_said(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.machine.control_groups.places", lambda *_: iter(()))
    run = await runner.run(job("a", resources=LIMIT), job("b"))
    assert run.record.status is Status.PASSED
    assert run.job("a").execution["memory"] == "not_limited"
    (note,) = run.job("a").notes
    assert note.startswith("`resources.memoryMib` limits nothing on ")
    assert f"pikaci> {note}" in run.log("a")
    assert run.job("b").notes == []


async def test_a_job_has_no_more_processes_than_it_may(runner: Runner) -> None:
    await needs("pids")
    many = "for i in $(seq 40); do sleep 1 & done; wait"
    few = "for i in 1 2 3; do sleep 0.1 & done; wait"
    run = await runner.run(
        job("many", many, resources=Resources(pids=8)), job("few", few, resources=Resources(pids=8))
    )
    assert run.job("few").status is Status.PASSED
    assert run.job("few").notes == []
    assert run.job("many").execution["pids"] == "limited"
    told = f"{run.job('many').message} {run.job('many').notes}"
    assert "it could start no more processes at times: limit 8 (`resources.pids`)" in told


async def test_a_job_has_no_more_processors_than_it_may(runner: Runner) -> None:
    await needs("cpu")
    burn = "import time; end=time.time()+1\nwhile time.time()<end: pass\nprint(time.process_time())"
    command = f'for i in 1 2 3; do {sys.executable} -c "{burn}" & done; wait'
    run = await runner.run(job("a", command, resources=Resources(cpus=1)))
    assert run.job("a").execution["cpus"] == "limited"
    times = [float(row) for row in run.said("a") if row[:1].isdigit()]
    assert len(times) == 3
    assert sum(times) < 1.5


async def test_a_disk_that_nothing_limits_is_said(runner: Runner) -> None:
    run = await runner.run(job("a", resources=Resources(disk_mib=10)))
    assert run.job("a").execution["disk"] == "not_limited"
    assert "`resources.diskMib` limits no process of a host" in run.job("a").notes[0]


def is_gone(said: list[str]) -> bool:
    """Whether the group is gone that /proc/self/cgroup named in a job."""
    (name,) = {row.rpartition("/")[2] for row in said if f"/{control_groups.PREFIX}" in row}
    return not any((place.path / name).exists() for place in control_groups.own_places("memory"))
