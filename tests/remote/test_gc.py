"""What is only kept on hosts for later goes beyond bounds, and nothing that a run needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from derivations import derive
from jerichoci.remote.agent.bundle import bundle
from jerichoci.remote.agent.host_gc import KEPT, SNAPSHOT
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.state.layout import StateLayout
from jerichoci.status import KeepPolicy, Status
from plans import built
from remote.away import away
from remote.leftovers import (
    age,
    assert_nothing_is_left,
    names,
    pikaci,
    run_directory,
    running,
    runs_there,
)
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path

    from remote.conftest import WriteHosts
    from remote.far_host import FarHost
    from runner import Runner

DAY_SECS = 24 * 3600.0
MIB = 1024 * 1024
MOST = {"count": 1000, "days": 1000, "mib": 1000000}
NOTHING = {"count": 0, "days": 0, "mib": 0}


async def leave_snapshots(runner: Runner, host: FarHost, user: Path) -> list[str]:
    """Snapshots on a host with a MiB each and one that they share, used last a day apart."""
    tree = UserTree(user)
    tree.write("shared", os.urandom(MIB))
    trees = []
    for number in range(3):
        (user / "own").write_bytes(os.urandom(MIB))
        tree.write("number", f"{number}\n")
        trees.append((await take_snapshot(runner.state.root, tree.root)).tree)
        ended = await replace(runner, tree=trees[-1]).run(away(f"j{number}", "true", host))
        assert ended.record.status is Status.PASSED
        _need(host, trees[-1])
    for name in trees:
        shutil.rmtree(host.work_dir / "runs" / name)
    for days, name in enumerate(reversed(trees)):
        age(snapshots(host) / name, DAY_SECS * (days + 0.5))
        age(refs(host) / name)
    return trees


def _need(host: FarHost, tree: str) -> None:
    """Let a snapshot not become the next one."""
    run = host.work_dir / "runs" / tree
    run.mkdir()
    (run / KEPT).write_text(str(time.time() + DAY_SECS))
    (run / SNAPSHOT).symlink_to(tree)


def snapshots(host: FarHost) -> Path:
    return host.work_dir / "snapshots"


def refs(host: FarHost) -> Path:
    return host.work_dir / "git" / "refs" / "pikaci"


def known_trees(host: FarHost) -> set[str]:
    """The trees that refs keep there, packed or not."""
    argv = ["git", f"--git-dir={host.work_dir}/git", "for-each-ref", "--format=%(refname:lstrip=2)"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


async def test_the_least_recently_used_go_beyond_a_bound_and_come_again(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, tmp_path: Path
) -> None:
    hosts_config(far_host)
    trees = await leave_snapshots(runner, far_host, tmp_path / "user")
    for bound in ({"count": 2}, {"days": 2}, {"mib": 4}):
        hosts_config(far_host, keep={**MOST, **bound})
        said = pikaci(runner.state, "gc", "--dry-run").out.splitlines()
        would = [line for line in said if "would remove snapshot" in line]
        assert would == [f"{far_host.name}: would remove snapshot {trees[0]}"], bound
    assert names(snapshots(far_host)) == sorted(trees)
    said_once = pikaci(runner.state, "gc").out
    assert f"{far_host.name}: removed 1 snapshots" in said_once
    assert names(snapshots(far_host)) == sorted(trees[1:])
    assert known_trees(far_host) == set(trees[1:])
    assert_nothing_is_left(far_host, [runner.state])

    hosts_config(far_host, keep=NOTHING)
    pikaci(runner.state, "gc")
    assert names(snapshots(far_host)) == []
    assert known_trees(far_host) == set()
    ended = await replace(runner, tree=trees[0]).run(away("again", "cat number", far_host))
    assert ended.said("again") == ["0"]


async def test_what_was_used_within_the_hour_stays(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host, keep=NOTHING)
    await runner.run(away("a", "true", far_host))
    pikaci(runner.state, "gc", "--keep-runs=0")
    assert names(snapshots(far_host)) == [runner.tree]


def test_a_run_that_lives_keeps_its_snapshot_whoever_collects(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, marker: str, tmp_path: Path
) -> None:
    hosts_config(far_host, keep=NOTHING)
    stranger = StateLayout(tmp_path / "stranger")
    stranger.make()
    with running(runner, far_host, marker):
        age(snapshots(far_host) / runner.tree)
        age(refs(far_host) / runner.tree)
        for state in (stranger, runner.state):
            pikaci(state, "gc", "--keep-runs=0")
            assert runs_there(far_host, marker)
            assert names(snapshots(far_host)) == [runner.tree]
            assert known_trees(far_host) == {runner.tree}
            assert run_directory(runner.state, far_host).exists()
    pikaci(runner.state, "gc", "--keep-runs=0")
    assert names(snapshots(far_host)) == []
    assert_nothing_is_left(far_host, [runner.state])


async def test_what_is_kept_for_a_look_keeps_its_snapshot(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host, keep=NOTHING)
    await runner.run(away("a", "true", far_host), keep=KeepPolicy.ALWAYS)
    age(snapshots(far_host) / runner.tree)
    age(refs(far_host) / runner.tree)
    pikaci(runner.state, "gc")
    assert names(snapshots(far_host)) == [runner.tree]
    pikaci(runner.state, "gc", "--keep-runs=0")
    assert names(snapshots(far_host)) == []
    assert_nothing_is_left(far_host, [runner.state])


async def test_a_dry_run_says_the_runs_that_would_go(runner: Runner, host: FarHost) -> None:
    ended = await runner.run(away("a", "true", host), keep=KeepPolicy.ALWAYS)
    there = run_directory(runner.state, host, ended.record.run_id)
    row = f"{host.name}: would remove run {there.name}"
    assert row not in pikaci(runner.state, "gc", "--dry-run").out
    assert row in pikaci(runner.state, "gc", "--dry-run", "--keep-runs=0").out
    assert there.exists()
    said = pikaci(runner.state, "gc", "--keep-runs=0")
    assert f"{host.name}: removed run {there.name}" in said.out


async def test_a_host_is_visited_once_though_its_settings_changed(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, tmp_path: Path
) -> None:
    gone = tmp_path / "known_hosts"
    gone.touch()
    hosts_config(far_host, known_hosts=str(gone))
    await runner.run(away("a", "true", far_host), keep=KeepPolicy.ALWAYS)
    gone.unlink()
    hosts_config(far_host, keep=MOST)
    said = pikaci(runner.state, "gc")
    assert said.out.count(f"{far_host.name}: removed ") == 1
    assert far_host.name not in said.err
    pikaci(runner.state, "gc", "--keep-runs=0")
    assert_nothing_is_left(far_host, [runner.state])


async def test_what_is_kept_in_a_work_directory_of_before_goes(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host)
    await runner.run(away("a", "exit 3", far_host), keep=KeepPolicy.ON_FAILURE)
    other = far_host.work_dir / "other"
    hosts_config(far_host, work_dir=str(other))
    said = pikaci(runner.state, "gc", "--keep-runs=0")
    assert f"{far_host.name} ({far_host.work_dir}): removed run " in said.out
    assert_nothing_is_left(far_host, [runner.state])


async def test_nothing_goes_when_a_host_is_named_that_nobody_knows(
    runner: Runner, host: FarHost
) -> None:
    ended = await runner.run(away("a", "true", host))
    with pytest.raises(AssertionError, match="unknown host `nope`"):
        pikaci(runner.state, "gc", "--keep-runs=0", "--host=nope")
    assert names(runner.state.runs) == [ended.record.run_id]


async def test_the_nix_roots_of_a_run_go_with_it(runner: Runner, host: FarHost) -> None:
    made = derive(dep="echo dep > $out")
    job = away("a", "cat $PIKACI_INPUT_DEP", host, needs=["dep"])
    ended = await runner.run(built("dep", made["dep"]), job)
    assert ended.said("a") == ["dep"]
    roots = host.run(["nix-store", "--gc", "--print-roots"]).stdout
    assert str(host.work_dir) not in roots


def test_an_agent_that_nobody_used_for_long_goes_unless_one_runs_from_it(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, marker: str
) -> None:
    hosts_config(far_host, keep={"days": 1})
    agents = far_host.work_dir / "agent"
    used = agents / ("1" * 64)
    with running(runner, far_host, marker):
        # Another version brings another one.
        (agents / bundle().digest).rename(used)
        unused = agents / ("0" * 64)
        unused.mkdir()
        for home in (used, unused):
            age(home, 2 * DAY_SECS)
        said = pikaci(runner.state, "gc", "--dry-run")
        assert "1 agents" in said.out
        assert unused.exists()
        pikaci(runner.state, "gc")
        assert names(agents) == sorted([used.name, bundle().digest])
    pikaci(runner.state, "reap")
    pikaci(runner.state, "gc")
    assert names(agents) == [bundle().digest]


async def test_a_host_that_only_catalogs_describe_is_visited_until_nothing_is_kept_there(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host, keep=NOTHING)
    await runner.run(away("a", "true", far_host))
    hosts_config()
    assert f"{far_host.name}: removed 0 snapshots" in pikaci(runner.state, "gc").out
    age(snapshots(far_host) / runner.tree)
    age(refs(far_host) / runner.tree)
    assert f"{far_host.name}: removed 1 snapshots" in pikaci(runner.state, "gc").out
    assert far_host.name not in pikaci(runner.state, "gc").out


async def test_what_a_removed_run_kept_on_a_host_that_was_down_goes_later(
    runner: Runner, host: FarHost
) -> None:
    await runner.run(away("a", "true", host), keep=KeepPolicy.ALWAYS)
    host.stop_sshd()
    pikaci(runner.state, "gc", "--keep-runs=0")
    assert names(runner.state.runs) == []
    host.start_sshd()
    assert names(host.work_dir / "runs") != []
    pikaci(runner.state, "reap")
    assert_nothing_is_left(host, [runner.state])


def test_a_host_that_cant_be_reached_keeps_nobody_from_the_others(
    runner: Runner, two_far_hosts: list[FarHost], hosts_config: WriteHosts
) -> None:
    hosts_config(*two_far_hosts)
    lost, other = two_far_hosts
    lost.stop_sshd()
    said = pikaci(runner.state, "gc")
    assert f"could not clean up {lost.name}: " in said.err
    assert f"{lost.name}:" not in said.out
    assert f"{other.name}: removed 0 snapshots" in said.out


async def test_a_pack_whose_sending_broke_off_leaves_nothing(runner: Runner, host: FarHost) -> None:
    await runner.run(away("a", "true", host))
    packs = host.work_dir / "git" / "objects" / "pack"
    half = packs / "tmp_pack_ABCDEF"
    half.write_bytes(b"half")
    age(half)
    pikaci(runner.state, "gc")
    assert not half.exists()
    assert_nothing_is_left(host, [runner.state])
