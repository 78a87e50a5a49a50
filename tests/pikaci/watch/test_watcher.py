"""Real files, real git, and the kernel's notices; the same by looking again and again."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import InfrastructureError
from jerichoci.snapshot.work_tree import find_work_tree
from pikaci.watch import watcher as watcher_module
from pikaci.watch.watcher import Change, Watcher, watching
from usertree import UserTree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

NOTHING_SECS = 0.7
"""Longer than a change takes to be told."""
DEADLINE_SECS = 20.0


@pytest.fixture(params=[False, True], ids=["inotify", "polling"])
def poll(request: pytest.FixtureRequest) -> bool:
    if not request.param and sys.platform != "linux":
        pytest.skip("only Linux has inotify")
    return bool(request.param)


@pytest.fixture
def tree(tmp_path: Path) -> UserTree:
    tree = UserTree(tmp_path / "repo")
    tree.write(".gitignore", "*.log\nout/\n")
    tree.write("src/deep/a", "a")
    tree.write("docs/b", "b")
    tree.write("out/old", "made")
    tree.init()
    tree.commit()
    return tree


@asynccontextmanager
async def watched(tree: UserTree, *, poll: bool = False) -> AsyncIterator[Watcher]:
    found = await find_work_tree(tree.root, tree.root / "state")
    async with watching(found, pytest.fail, poll=poll) as watcher:
        yield watcher


async def told(watcher: Watcher) -> Change:
    return await asyncio.wait_for(watcher.next(), DEADLINE_SECS)


async def is_quiet(watcher: Watcher) -> bool:
    try:
        await asyncio.wait_for(watcher.next(), NOTHING_SECS)
    except TimeoutError:
        return True
    return False


def _into_new_directories(tree: UserTree) -> None:
    tree.write("new/inner/most/file", "new")


def _rename(tree: UserTree) -> None:
    tree.path("src/deep").rename(tree.path("src/other"))


def _remove(tree: UserTree) -> None:
    shutil.rmtree(tree.path("src"))


def _as_vim_saves(tree: UserTree) -> None:
    tree.write("src/deep/4913")
    tree.path("src/deep/4913").unlink()
    tree.path("src/deep/a").rename(tree.path("src/deep/a~"))
    tree.write("src/deep/a", "edited")
    tree.path("src/deep/a~").unlink()


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.write("src/deep/a", "edited"),
        lambda tree: tree.path("src/deep/a").chmod(0o755),
        lambda tree: tree.path("src/deep/a").unlink(),
        lambda tree: tree.path("src/link").symlink_to("deep"),
        lambda tree: tree.write(b"docs/\xff", "not UTF-8"),
        _into_new_directories,
        _rename,
        _remove,
        _as_vim_saves,
    ],
)
async def test_a_change_is_told_once(
    tree: UserTree, change: Callable[[UserTree], object], *, poll: bool
) -> None:
    async with watched(tree, poll=poll) as watcher:
        change(tree)
        assert (await told(watcher)).is_settled
        assert await is_quiet(watcher)


async def test_what_came_with_a_change_is_watched_from_then_on(
    tree: UserTree, *, poll: bool
) -> None:
    async with watched(tree, poll=poll) as watcher:
        _into_new_directories(tree)
        _rename(tree)
        await told(watcher)
        for name in ("new/inner/most/file", "src/other/a", "new/inner/more"):
            tree.write(name, "again")
            assert (await told(watcher)).name == name


async def test_what_no_snapshot_has_is_not_told(tree: UserTree, *, poll: bool) -> None:
    async with watched(tree, poll=poll) as watcher:
        tree.write("src/deep/some.log", "ignored")
        tree.write("out/new/made", "ignored")
        tree.write("state/runs/record", "the state root's")
        tree.git("commit", "--allow-empty", "--quiet", "-m", "no change")
        assert await is_quiet(watcher)
        tree.git("add", "--force", "src/deep/some.log")
        tree.write("src/deep/some.log", "tracked")
        assert (await told(watcher)).name == "src/deep/some.log"


async def test_what_editors_write_for_themselves_is_not_told(tree: UserTree) -> None:
    async with watched(tree) as watcher:
        for name in (".a.swp", ".a.swo", "4913", "a~", "#a#"):
            tree.write(f"src/deep/{name}")
        tree.link("src/deep/.#a", "user@host.1234")
        assert await is_quiet(watcher)


async def test_what_is_no_longer_ignored_is_watched(tree: UserTree, *, poll: bool) -> None:
    async with watched(tree, poll=poll) as watcher:
        tree.write(".gitignore", "")
        await told(watcher)
        tree.write("out/old", "edited")
        assert (await told(watcher)).name == "out/old"


async def test_a_tracked_file_in_an_ignored_directory_is_watched(tree: UserTree) -> None:
    tree.git("add", "--force", "out/old")
    async with watched(tree) as watcher:
        tree.write("out/old", "edited")
        assert (await told(watcher)).name == "out/old"
        tree.write("out/new", "ignored")
        assert await is_quiet(watcher)


async def test_a_repository_in_the_tree_ignores_by_its_own_rules(tree: UserTree) -> None:
    inner = UserTree(tree.path("inner"))
    inner.write(".gitignore", "private\n")
    inner.init()
    inner.commit()
    async with watched(tree) as watcher:
        inner.write("private", "ignored")
        inner.git("commit", "--allow-empty", "--quiet", "-m", "no change")
        assert await is_quiet(watcher)
        inner.write("shown", "new")
        assert (await told(watcher)).name == "inner/shown"


async def test_outside_git_all_files_but_the_state_root_are_watched(tmp_path: Path) -> None:
    tree = UserTree(tmp_path)
    tree.write("some.log")
    async with watched(tree) as watcher:
        tree.write("state/runs/record", "the state root's")
        assert await is_quiet(watcher)
        tree.write("some.log", "edited")
        assert (await told(watcher)).name == "some.log"


async def test_a_tree_that_does_not_settle_is_told_after_a_while(
    tree: UserTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "UNSETTLED_SECS", 1.0)

    async def scribble() -> None:
        while True:
            tree.write("src/data", str(time.monotonic_ns()))
            await asyncio.sleep(0.02)

    async with watched(tree) as watcher:
        scribbling = asyncio.create_task(scribble())
        began = time.monotonic()
        for _ in range(2):
            assert await told(watcher) == Change("src/data", is_settled=False)
        assert time.monotonic() - began >= 2.0
        scribbling.cancel()
        assert (await told(watcher)).is_settled
        assert await is_quiet(watcher)


async def test_an_ignored_file_that_is_written_all_the_time_does_not_matter(
    tree: UserTree,
) -> None:
    async def scribble() -> None:
        while True:
            tree.write("some.log", str(time.monotonic_ns()))
            await asyncio.sleep(0.01)

    async with watched(tree) as watcher:
        scribbling = asyncio.create_task(scribble())
        assert await is_quiet(watcher)
        tree.write("docs/b", "edited")
        assert await told(watcher) == Change("docs/b", is_settled=True)
        scribbling.cancel()


async def test_many_files_are_one_change_though_notices_are_lost(tree: UserTree) -> None:
    async with watched(tree) as watcher:
        for number in range(6_000):  # more notices than the kernel keeps, and nothing reads them
            directory = tree.path(f"many/{number % 100}")
            directory.mkdir(parents=True, exist_ok=True)
            (directory / str(number)).write_text("new")
        assert (await told(watcher)).is_settled
        assert await is_quiet(watcher)
        tree.write("many/99/new", "new")
        assert (await told(watcher)).name == "many/99/new"


@pytest.mark.parametrize("end", ["rename", "remove"])
async def test_the_end_of_the_tree_is_an_error(tree: UserTree, end: str, *, poll: bool) -> None:
    async with watched(tree, poll=poll) as watcher:
        if end == "rename":
            tree.root.rename(tree.root.with_name("elsewhere"))
        else:
            shutil.rmtree(tree.root)
        with pytest.raises(InfrastructureError, match=r"repo was removed or renamed"):
            await told(watcher)


async def test_a_wait_that_is_given_up_loses_nothing(tree: UserTree) -> None:
    async with watched(tree) as watcher:
        tree.write("docs/b", "edited")
        for _ in range(100):
            waiting = asyncio.create_task(watcher.next())
            await asyncio.sleep(0.001)
            waiting.cancel()
        assert (await told(watcher)).name == "docs/b"


FEW = """
import asyncio, sys
from pathlib import Path
from jerichoci.snapshot.work_tree import find_work_tree
from pikaci.watch.watcher import watching

async def main():
    root = Path(sys.argv[1])
    tree = await find_work_tree(root, root / "state")
    async with watching(tree, lambda text: print(text, flush=True)) as watcher:
        for name in sys.argv[2:]:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text("edited")
            print((await watcher.next()).name, flush=True)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has inotify")
@pytest.mark.parametrize(("limit", "setting"), [(2, "watches"), (4, "watches"), (0, "instances")])
def test_too_few_watches_are_told_with_the_setting_and_files_are_polled(
    tree: UserTree, limit: int, setting: str
) -> None:
    few = f'echo {limit} >/proc/sys/user/max_inotify_{setting} && exec "$@"'
    names = ("docs/b", "new/file", "new/file")
    argv = [sys.executable, "-c", FEW, str(tree.root), *names]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", few, "sh", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECS,
    )
    assert done.returncode == 0, done.stderr
    (sentence,) = (line for line in done.stdout.splitlines() if "allows too few" in line)
    assert f"sysctl fs.inotify.max_user_{setting}" in sentence
    assert [line for line in done.stdout.splitlines() if line != sentence] == [
        "docs/b",
        "new",
        "new/file",
    ]
