from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from e2e.project import shim
from jerichoci.machine.process import run
from jerichoci.snapshot.exclude import without_excluded
from jerichoci.snapshot.materialise import (
    materialise,
    remove_snapshot,
    remove_stale_materialisations,
)
from jerichoci.snapshot.repository import Repository
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.state.lock import try_lock
from usertree import UserTree, tree_entries, written


@pytest.fixture
def user(tmp_path: Path) -> UserTree:
    user = UserTree(tmp_path / "user").init()
    for number in range(20):
        user.write(f"many/{number}", f"{number}\n")
    user.write("tool", "#!/bin/sh\n", mode=0o755)
    user.write("becomes-a-directory", "x")
    user.write("becomes-a-file/inside/deep", "x")
    user.write("changes", "before\n")
    user.write("leaves/nothing/behind")
    user.write(b"odd \xff\nname", "before\n")
    user.link("link", "tool")
    return user


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def tree_of(state: Path, user: UserTree) -> str:
    return (await take_snapshot(state, user.root)).tree


def change(user: UserTree) -> None:
    user.write("becomes-a-directory/x", "new")
    user.write("becomes-a-file", "new")
    user.write("changes", "after\n")
    user.write(b"odd \xff\nname", "after\n")
    user.write("link", "now a file")
    user.link("tool", "many")
    user.path("many/0").unlink()
    user.path("leaves/nothing/behind").unlink()


def contents(directory: Path) -> dict[bytes, tuple[str, bytes]]:
    found = {}
    for name in UserTree(directory).files():
        path = directory / os.fsdecode(name)
        if path.is_symlink():
            found[name] = ("120000", os.fsencode(path.readlink()))
        else:
            found[name] = (f"10{path.stat().st_mode & 0o777:04o}", path.read_bytes())
    return found


async def test_a_snapshot_has_what_its_tree_has_and_links_what_another_has(
    state: Path, user: UserTree
) -> None:
    before = await tree_of(state, user)
    first = await materialise(state, before)
    assert first == state / "snapshots" / before
    assert contents(first) == tree_entries(state, before)
    change(user)
    after = await tree_of(state, user)
    second = await materialise(state, after, is_spare=lambda _: False)
    assert not (second / "leaves").exists()
    assert contents(second) == tree_entries(state, after)
    assert contents(first) == tree_entries(state, before)
    if sys.platform.startswith("linux"):
        assert (first / "many" / "1").samefile(second / "many" / "1")
    assert not (first / "changes").samefile(second / "changes")


async def test_the_umask_is_no_matter(state: Path, user: UserTree) -> None:
    old = await tree_of(state, user)
    user.write("new/file", "x")
    user.write("new/tool", "x", mode=0o755)
    new = await tree_of(state, user)
    before = os.umask(0o077)
    try:
        await materialise(state, old)
        there = await materialise(state, new)
    finally:
        os.umask(before)
    modes = {str(p.relative_to(there)): p.lstat().st_mode & 0o777 for p in there.rglob("*")}
    assert modes["new"] == modes["many"] == there.stat().st_mode & 0o777 == 0o755
    assert modes["new/tool"] == modes["new"] == 0o755
    assert modes["new/file"] == modes["many/1"] == 0o644
    assert state.joinpath("snapshots").stat().st_mode & 0o777 == 0o700


async def test_an_existing_snapshot_is_returned_and_marked_as_used(
    state: Path, user: UserTree
) -> None:
    tree = await tree_of(state, user)
    (there,) = set(await asyncio.gather(*(materialise(state, tree) for _ in range(4))))
    assert list((state / "snapshots").iterdir()) == [there]
    os.utime(there, (0, 0))
    before = (there / "changes").stat()
    assert await materialise(state, tree) == there
    assert there.stat().st_mtime > 0
    assert (there / "changes").stat() == before


async def test_processes_at_the_same_time_make_one(state: Path, user: UserTree) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path;"
        "from jerichoci.snapshot.materialise import materialise;"
        "from jerichoci.snapshot.snapshot import take_snapshot;"
        "state, source = map(Path, sys.argv[1:]);"
        "tree = asyncio.run(take_snapshot(state, source)).tree;"
        "print(asyncio.run(materialise(state, tree)))"
    )
    argv = (sys.executable, "-c", program, str(state), str(user.root))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = await asyncio.gather(*(run(argv, env=env, deadline_secs=60) for _ in range(3)))
    printed = {process.stdout for process in done}
    assert [process.exit_code for process in done] == [0] * 3
    assert len(printed) == 1
    assert contents(Path(os.fsdecode(printed.pop().strip())))


async def test_a_cancelled_one_leaves_nothing(
    state: Path, user: UserTree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tree, pid = await tree_of(state, user), tmp_path / "pid"
    slow = f'case "$*" in *checkout-index*) echo $$ > {pid}; exec sleep 60;; esac'
    monkeypatch.setenv("PATH", shim(tmp_path / "shims", "git", f'{slow}\nexec "$real" "$@"'))
    task = asyncio.create_task(materialise(state, tree))
    await written(pid)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert list((state / "snapshots").iterdir()) == []
    assert not list((state / "git").glob("pikaci-index-checkout*"))


async def test_what_a_dead_process_left_is_removed_and_what_a_live_one_builds_is_not(
    state: Path, user: UserTree
) -> None:
    tree = await tree_of(state, user)
    await materialise(state, tree)
    for name in ("dead", "live"):
        (state / "snapshots" / f".tmp-{name}" / "sub").mkdir(parents=True)
    with try_lock(state / "slots" / "snapshot-live.lock"):
        assert remove_stale_materialisations(state) == ["dead"]
    assert {p.name for p in (state / "snapshots").iterdir()} == {tree, ".tmp-live"}


async def test_a_removed_snapshot_can_be_made_again(state: Path, user: UserTree) -> None:
    tree = await tree_of(state, user)
    there = await materialise(state, tree)
    with try_lock(state / "slots" / f"snapshot-{tree}.lock", shared=True):
        assert not remove_snapshot(state, tree)
    assert remove_snapshot(state, tree)
    assert not there.exists()
    # What a process left that died while it made it is no part of it.
    (there.with_name(f".tmp-{tree}") / "left").mkdir(parents=True)
    assert contents(await materialise(state, tree)) == tree_entries(state, tree)
    assert not (there / "left").exists()


async def test_no_descriptor_reaches_a_child(state: Path, user: UserTree) -> None:
    before = [fd for fd in range(3, 256) if _is_inheritable(fd)]
    tree = await tree_of(state, user)
    await materialise(state, tree)
    with try_lock(state / "slots" / "any.lock"):
        inheritable = [fd for fd in range(3, 256) if _is_inheritable(fd)]
    assert inheritable == before


def _is_inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


async def test_a_derived_tree_lacks_what_matches(state: Path, user: UserTree) -> None:
    tree = await tree_of(state, user)
    asked: list[str] = []

    def matches(name: str) -> bool:
        asked.append(name)
        return name.startswith(("many/", "odd"))

    repository = Repository.at(state)
    derived = await without_excluded(repository, tree, ["many/**", "odd*"], matches)
    left = {
        name: entry
        for name, entry in tree_entries(state, tree).items()
        if not name.startswith((b"many/", b"odd"))
    }
    assert tree_entries(state, derived) == left
    assert os.fsdecode(b"odd \xff\nname") in asked
    asked.clear()
    assert await without_excluded(repository, tree, ["many/**", "odd*"], matches) == derived
    assert asked == []
    commit = repository.commit_of(derived)
    assert commit is not None
    (repository.path / "objects" / commit[:2] / commit[2:]).unlink()
    assert repository.commit_of(derived) is None
    assert await repository.keep(derived) == commit
    assert contents(await materialise(state, derived, base=tree)) == left
    user.write("many/1", "changed")
    other = await tree_of(state, user)
    assert other != tree
    assert await without_excluded(repository, other, ["many/**", "odd*"], matches) == derived


async def test_an_unneeded_snapshot_becomes_the_next(state: Path, user: UserTree) -> None:
    user.write("same", "same\n")
    user.write("changed", "one\n")
    first = (await take_snapshot(state, user.root)).tree
    before = await materialise(state, first)
    inode = (before / "same").stat().st_ino
    user.write("changed", "two\n")
    second = (await take_snapshot(state, user.root)).tree
    asked: list[str] = []

    def is_spare(tree: str) -> bool:
        asked.append(tree)
        return True

    after = await materialise(state, second, is_spare=is_spare)
    assert asked == [first]
    assert not before.exists()
    assert (after / "same").stat().st_ino == inode
    assert (after / "changed").read_text() == "two\n"
    assert (await materialise(state, first) / "changed").read_text() == "one\n"
    assert (after / "changed").read_text() == "two\n"
