from __future__ import annotations

import asyncio
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from jerichoci.cleanup import gc
from jerichoci.cleanup.gc import collect_garbage, reap
from jerichoci.record.store import RunStore
from jerichoci.snapshot.materialise import materialise
from jerichoci.snapshot.repository import RECENT_SECS
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.state.owner import owning
from jerichoci.state.remove_tree import remove_tree
from plans import RUN_ID
from records import dead, finished, run_ids, writing
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci.state.layout import RunLayout, StateLayout


def age(path: Path) -> None:
    """Let a path look as if nobody had used it lately."""
    long_ago = time.time() - RECENT_SECS - 60
    os.utime(path, (long_ago, long_ago))


async def snapshot(layout: StateLayout, user: UserTree, content: str) -> str:
    """A snapshot that nobody used lately, materialised."""
    user.write("file", content)
    taken = await take_snapshot(layout.root, user.root)
    directory = await materialise(layout.root, taken.tree)
    age(directory)
    age(layout.git / taken.ref)
    return taken.tree


@pytest.fixture
def user(tmp_path: Path) -> UserTree:
    return UserTree(tmp_path / "user")


def refs(layout: StateLayout) -> set[str]:
    argv = ["git", f"--git-dir={layout.git}", "for-each-ref", "--format=%(refname:lstrip=2)"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def has_object(layout: StateLayout, name: str) -> bool:
    argv = ["git", f"--git-dir={layout.git}", "cat-file", "-e", name]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def snapshots(layout: StateLayout) -> set[str]:
    return {path.name for path in layout.snapshots.iterdir()}


async def test_the_newest_runs_are_kept_and_one_that_goes_on_does_not_count(
    layout: StateLayout,
) -> None:
    live, *ids = run_ids(6)
    with writing(layout, run_id=live):
        for run_id in ids:
            finished(layout, run_id)
        collected = await collect_garbage(layout, 2, dry_run=False)
        assert RunStore(layout.root).run_ids() == [*ids[:-3:-1], live]
        assert sorted(collected.runs) == ids[:3]
        assert collected.kept_runs == 3


async def test_a_dead_run_counts_as_over_and_a_damaged_one_goes_in_its_turn(
    layout: StateLayout,
) -> None:
    first, second = run_ids(2)
    finished(layout, first).record.write_text("{")
    dead(layout, run_id=second)
    await collect_garbage(layout, 1, dry_run=False)
    assert RunStore(layout.root).run_ids() == [second]
    assert RunStore(layout.root).summary(second).status == "failed"
    collected = await collect_garbage(layout, 0, dry_run=False)
    assert RunStore(layout.root).run_ids() == []
    assert (collected.snapshots, collected.refs) == ([], [])


async def test_what_a_kept_run_needs_stays_and_the_rest_goes(
    layout: StateLayout, user: UserTree
) -> None:
    trees = [await snapshot(layout, user, text) for text in ("old", "kept", "live")]
    old, kept, live = run_ids(3)
    finished(layout, old, tree=trees[0])
    finished(layout, kept, tree=trees[1])
    with writing(layout, run_id=live, tree=trees[2]):
        collected = await collect_garbage(layout, 1, dry_run=False)
        assert snapshots(layout) == set(trees[1:])
        assert {ref.rpartition("/")[2] for ref in refs(layout)} == set(trees[1:])
        assert (collected.snapshots, collected.refs) == ([trees[0]], [trees[0]])


async def test_a_kept_runs_snapshot_can_be_made_again(layout: StateLayout, user: UserTree) -> None:
    old = await snapshot(layout, user, "old")
    kept = await snapshot(layout, user, "kept")
    finished(layout, tree=kept)
    remove_tree(layout.snapshots / kept)
    await collect_garbage(layout, 1, dry_run=False)
    directory = await materialise(layout.root, kept)
    assert (directory / "file").read_text() == "kept"
    assert not has_object(layout, old)


async def test_a_snapshot_that_was_just_taken_stays(layout: StateLayout, user: UserTree) -> None:
    user.write("file", "new")
    taken = await take_snapshot(layout.root, user.root)
    await materialise(layout.root, taken.tree)
    await collect_garbage(layout, 0, dry_run=False)
    assert snapshots(layout) == {taken.tree}
    assert refs(layout) == {taken.tree}


async def test_a_dry_run_says_what_would_go_and_removes_nothing(
    layout: StateLayout, user: UserTree
) -> None:
    tree = await snapshot(layout, user, "old")
    run = finished(layout, tree=tree)
    collected = await collect_garbage(layout, 0, dry_run=True)
    assert (collected.runs, collected.snapshots) == ([RUN_ID], [tree])
    assert run.root.exists()
    assert snapshots(layout) == {tree}


async def test_what_is_half_made_half_removed_or_old_goes_and_what_is_being_made_stays(
    layout: StateLayout,
) -> None:
    unborn, gone = layout.runs / f"{RUN_ID}.new", layout.runs / f"{RUN_ID}.gone"
    unfinished, sources = layout.snapshots / ".tmp-0123", layout.root / "sources"
    born = layout.runs / "20270131T000000Z-00000000.new"
    for directory in (unborn, gone, unfinished, born, sources / "old", sources / "new"):
        (directory / "x").mkdir(parents=True)
    age(sources / "old")
    with owning(born):
        await collect_garbage(layout, 0, dry_run=False)
        assert born.exists()
    assert not any(directory.exists() for directory in (unborn, gone, unfinished))
    assert [path.name for path in sources.iterdir()] == ["new"]


async def test_views_of_the_guests_store_go_unless_a_run_leases_them(layout: StateLayout) -> None:
    views = layout.root / "guest-store/views"
    for name in ("old", "leased", "new", ".tmp-0123-4567", ".gone-0123-4567"):
        (views / name / "path").mkdir(parents=True)
        if name != "new":
            age(views / name)
    with writing(layout) as writer:
        (writer.layout.scratch / "a-1").mkdir(parents=True)
        (writer.layout.scratch / "a-1/view").symlink_to(views / "leased")
        assert (await collect_garbage(layout, 0, dry_run=True)).views == ["old"]
        assert (views / "old").exists()
        assert (await collect_garbage(layout, 0, dry_run=False)).views == ["old"]
        assert {path.name for path in views.iterdir()} == {"leased", "new"}
    assert reap(layout).runs == (RUN_ID,)
    assert (await collect_garbage(layout, 1, dry_run=False)).views == ["leased"]


def test_reaping_closes_dead_runs_and_removes_none(layout: StateLayout) -> None:
    dead(layout)
    assert reap(layout).runs == (RUN_ID,)
    assert RunStore(layout.root).run_ids() == [RUN_ID]


@pytest.mark.parametrize("is_recorded", [True, False])
async def test_a_snapshot_asked_for_while_runs_are_removed_stays(
    layout: StateLayout, user: UserTree, monkeypatch: pytest.MonkeyPatch, *, is_recorded: bool
) -> None:
    tree = await snapshot(layout, user, "old")
    old, new = run_ids(2)
    finished(layout, old, tree=tree)
    remove = gc._remove_run

    def begin_meanwhile(state: StateLayout, run: RunLayout) -> bool:
        if is_recorded:
            finished(layout, new, tree=tree)
        else:
            os.utime(layout.snapshots / tree)
        return remove(state, run)

    monkeypatch.setattr(gc, "_remove_run", begin_meanwhile)
    await collect_garbage(layout, 0, dry_run=False)
    assert snapshots(layout) == {tree}


async def test_two_collectors_at_once_remove_everything_without_an_error(
    layout: StateLayout, caplog: pytest.LogCaptureFixture
) -> None:
    made = {finished(layout, run_id).run_id for run_id in run_ids(40)}

    def collect() -> set[str]:
        return set(asyncio.run(collect_garbage(layout, 0, dry_run=False)).runs)

    both = await asyncio.gather(asyncio.to_thread(collect), asyncio.to_thread(collect))
    assert both[0] | both[1] == made
    assert list(layout.runs.iterdir()) == []
    assert caplog.text == ""
