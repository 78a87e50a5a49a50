from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import UsageError
from jerichoci.snapshot.materialise import materialise
from jerichoci.snapshot.repository import prune_repository
from jerichoci.snapshot.snapshot import take_snapshot
from usertree import UserTree, check_objects, remove, tree_entries

if TYPE_CHECKING:
    from pathlib import Path

ODD_NAMES = [b"a b", b"new\nline", b"\xff\xfe", b"tab\t", b'quo"te', b"-dash", b"git~1", b":(top)x"]


@pytest.fixture
def user(tmp_path: Path) -> UserTree:
    tree = UserTree(tmp_path / "user").init()
    tree.write("README", "hello\n")
    tree.write("src/main", "#!/bin/sh\n", mode=0o755)
    tree.commit()
    return tree


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def keeps_all(_name: str) -> bool:
    return False


async def names(state: Path, user: UserTree) -> set[bytes]:
    return set(tree_entries(state, (await take_snapshot(state, user.root)).tree))


async def test_a_clean_tree_has_heads_tree_id(
    user: UserTree, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = await take_snapshot(state, user.root)
    assert snapshot.tree == user.git("rev-parse", "HEAD^{tree}").decode().strip()
    assert snapshot.git_head == user.git("rev-parse", "HEAD").decode().strip()
    assert (snapshot.git_dirty, snapshot.created) == (False, True)
    assert snapshot.source_root == user.root
    assert snapshot.ref == f"refs/pikaci/{snapshot.tree}"
    assert await take_snapshot(state, user.root / "src") == replace(snapshot, created=False)
    assert await take_snapshot(tmp_path / "other", user.root) == snapshot
    # Variables of a git hook point nowhere.
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, "/nonexistent")
    assert (await take_snapshot(state, user.root)).tree == snapshot.tree


async def test_changed_and_untracked_files_are_in_and_ignored_ones_are_not(
    user: UserTree, state: Path
) -> None:
    user.write(".gitignore", "*.o\nbuild/\n")
    user.write("README", "changed\n")
    user.write("new", "new\n")
    user.write("x.o", "object")
    user.write("build/out", "output")
    snapshot = await take_snapshot(state, user.root)
    entries = tree_entries(state, snapshot.tree)
    assert set(entries) == {b".gitignore", b"README", b"new", b"src/main"}
    assert entries[b"README"] == ("100644", b"changed\n")
    assert snapshot.git_dirty is True


async def test_an_ignored_file_that_the_user_tracks_is_in(user: UserTree, state: Path) -> None:
    user.write(".gitignore", "*.o\n")
    user.write("kept.o", "1")
    user.write("left.o", "1")
    await take_snapshot(state, user.root)
    user.git("add", "--force", "kept.o")
    assert b"kept.o" in await names(state, user)
    user.write("kept.o", "2")
    user.write("other", "2")
    snapshot = await take_snapshot(state, user.root)
    assert tree_entries(state, snapshot.tree)[b"kept.o"] == ("100644", b"2")
    user.git("rm", "--cached", "--force", "--quiet", "kept.o")
    assert b"kept.o" not in await names(state, user)


async def test_a_file_leaves_when_it_becomes_ignored(user: UserTree, state: Path) -> None:
    user.write("later", "x")
    assert b"later" in await names(state, user)
    user.write(".gitignore", "later\n")
    assert b"later" not in await names(state, user)
    user.path(".gitignore").unlink()
    assert b"later" in await names(state, user)


async def test_every_place_of_ignore_patterns_counts(user: UserTree, state: Path) -> None:
    for place in ("global", "config", "info", "directory"):
        user.write(f"sub/{place}.x", "x")
    (user.root.parent / "home" / "config" / "git").mkdir(parents=True)
    (user.root.parent / "home" / "config" / "git" / "ignore").write_text("global.x\n")
    user.write(".git/info/exclude", "info.x")
    user.write("sub/.gitignore", "/directory.x\n")
    found = await names(state, user)
    assert {name for name in found if name.endswith(b".x")} == {b"sub/config.x"}
    user.write(".git/own", "config.x\n")
    user.git("config", "core.excludesFile", ".git/own")
    found = await names(state, user)
    assert {name for name in found if name.endswith(b".x")} == {b"sub/global.x"}


async def test_modes_symlinks_empty_files_and_odd_names_survive(
    user: UserTree, state: Path
) -> None:
    for name in ODD_NAMES:
        user.write(name, name, mode=0o755)
    user.write("empty")
    user.link("broken", "no/where")
    user.link("up", "..")
    entries = tree_entries(state, (await take_snapshot(state, user.root)).tree)
    assert {name: entries[name] for name in ODD_NAMES} == {n: ("100755", n) for n in ODD_NAMES}
    assert entries[b"empty"] == ("100644", b"")
    assert entries[b"broken"] == ("120000", b"no/where")
    assert entries[b"up"] == ("120000", b"..")


async def test_what_git_cant_keep_is_left_out(user: UserTree, state: Path) -> None:
    user.write("was-a-file", "x")
    await take_snapshot(state, user.root)
    user.path("was-a-file").unlink()
    os.mkfifo(user.path("was-a-file"))
    os.mkfifo(user.path("pipe"))
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(user.root)
        listener.bind("socket")
        assert await names(state, user) == {b"README", b"src/main"}


async def test_attributes_and_settings_change_no_byte(user: UserTree, state: Path) -> None:
    user.write(
        ".gitattributes",
        "* text=auto eol=lf ident filter=rot working-tree-encoding=UTF-16 diff=x merge=x\n",
    )
    user.git("config", "filter.rot.clean", "tr a-z n-za-m")
    user.git("config", "filter.rot.required", "true")
    user.git("config", "core.autocrlf", "true")
    user.git("config", "core.fileMode", "false")
    content = b"one\r\n$Id$\r\ntwo\n\xff\x00"
    user.write("converted", content, mode=0o755)
    snapshot = await take_snapshot(state, user.root)
    assert tree_entries(state, snapshot.tree)[b"converted"] == ("100755", content)
    there = await materialise(state, snapshot.tree)
    assert (there / "converted").read_bytes() == content


async def test_what_git_converts_or_overlooks_is_not_dirty(user: UserTree, state: Path) -> None:
    user.git("config", "core.fileMode", "false")
    user.write(".gitattributes", "*.txt text eol=crlf\n")
    user.write('odd "name"\n.txt', "one\r\ntwo\r\n")
    user.commit()
    snapshot = await take_snapshot(state, user.root)
    assert snapshot.tree != user.git("rev-parse", "HEAD^{tree}").decode().strip()
    assert snapshot.git_dirty is False
    user.path("README").chmod(0o755)
    assert (await take_snapshot(state, user.root)).git_dirty is False
    user.git("config", "core.fileMode", "true")
    assert (await take_snapshot(state, user.root)).git_dirty is True
    user.path("README").chmod(0o644)
    user.write('odd "name"\n.txt', "one\r\nthree\r\n")
    assert (await take_snapshot(state, user.root)).git_dirty is True


async def test_nothing_of_the_users_is_written(user: UserTree, state: Path) -> None:
    user.write("staged", "1")
    user.git("add", "staged")
    user.write("staged", "2")
    user.write("README", "changed")

    def everything() -> dict[Path, tuple[int, int]]:
        found = {}
        for path in user.root.rglob("*"):
            seen = path.lstat()
            found[path] = (seen.st_ino, seen.st_mtime_ns)
        return found

    before = everything()
    await take_snapshot(state, user.root)
    await take_snapshot(state, user.root)
    assert everything() == before


async def test_a_snapshot_outlives_amending_pruning_and_the_repository_itself(
    user: UserTree, state: Path
) -> None:
    user.write("precious", "content\n")
    user.commit("with it")
    snapshot = await take_snapshot(state, user.root)
    user.git("rm", "--quiet", "precious")
    user.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "without it")
    user.git("reflog", "expire", "--expire=now", "--all")
    user.git("gc", "--quiet", "--prune=now")
    assert tree_entries(state, snapshot.tree)[b"precious"] == ("100644", b"content\n")
    shutil.rmtree(user.root)
    check_objects(state)
    there = await materialise(state, snapshot.tree)
    assert (there / "precious").read_text() == "content\n"
    assert not (state / "git" / "objects" / "info" / "alternates").exists()
    assert not (state / "git" / "shallow").exists()


async def test_a_shallow_clone_leaves_no_boundary(
    user: UserTree, state: Path, tmp_path: Path
) -> None:
    user.commit("second")
    url = user.root.as_uri()
    user.git("clone", "--quiet", "--depth=1", url, str(tmp_path / "shallow"))
    snapshot = await take_snapshot(state, tmp_path / "shallow")
    assert not (state / "git" / "shallow").exists()
    check_objects(state)
    assert snapshot.git_dirty is False


async def test_outside_git_nothing_is_ignored(tmp_path: Path, state: Path) -> None:
    user = UserTree(tmp_path / "plain")
    user.root.mkdir()
    empty = await take_snapshot(state, user.root)
    assert tree_entries(state, empty.tree) == {}
    assert list((await materialise(state, empty.tree)).iterdir()) == []
    user.write(".gitignore", "*.o\n")
    user.write("deep/x.o", "x")
    snapshot = await take_snapshot(state, user.root)
    assert set(tree_entries(state, snapshot.tree)) == {b".gitignore", b"deep/x.o"}
    assert (snapshot.git_head, snapshot.git_dirty) == (None, None)


@pytest.mark.parametrize("in_git", [True, False])
async def test_a_state_root_inside_the_tree_is_not_in_it(tmp_path: Path, *, in_git: bool) -> None:
    user = UserTree(tmp_path / "around")
    user.write(".gitignore")
    if in_git:
        user.init().commit()
    state = user.root / "a [state] root"
    for rule in ("", "!*\n!*/\n"):
        user.write(".gitignore", rule)
        first = await take_snapshot(state, user.root)
        await materialise(state, first.tree)
        assert (await take_snapshot(state, user.root)).tree == first.tree
        assert set(tree_entries(state, first.tree)) == {b".gitignore"}


@pytest.mark.parametrize(
    ("where", "why"), [(".git", "not in a work tree"), ("nowhere", "not a directory")]
)
async def test_what_is_no_work_tree_is_refused(
    user: UserTree, state: Path, where: str, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        await take_snapshot(state, user.root / where)


async def test_a_same_size_change_within_one_tick_is_seen(user: UserTree, state: Path) -> None:
    seen = set()
    for number in range(8):
        user.write("counter", str(number))
        seen.add((await take_snapshot(state, user.root)).tree)
    assert len(seen) == 8


async def test_snapshots_at_the_same_time_agree(user: UserTree, state: Path) -> None:
    user.write("new", "x")
    taken = await asyncio.gather(*(take_snapshot(state, user.root) for _ in range(4)))
    assert len({snapshot.commit for snapshot in taken}) == 1


async def test_a_damaged_private_index_is_made_anew(user: UserTree, state: Path) -> None:
    first = await take_snapshot(state, user.root)
    for path in (state / "git").glob("pikaci-index-*"):
        path.write_bytes(b"not an index")
        path.with_name(f"{path.name}.lock").touch()
    assert (await take_snapshot(state, user.root)).tree == first.tree


async def test_a_submodules_files_are_in(user: UserTree, state: Path, tmp_path: Path) -> None:
    module = UserTree(tmp_path / "module").init()
    module.write("lib", "1")
    module.write(".gitignore", "*.o\n")
    module.commit()
    user.git("submodule", "--quiet", "add", module.root.as_uri(), "deps/module")
    user.commit()
    user.write("deps/module/x.o", "object")
    snapshot = await take_snapshot(state, user.root)
    assert b"deps/module/lib" in tree_entries(state, snapshot.tree)
    assert b"deps/module/x.o" not in tree_entries(state, snapshot.tree)
    assert snapshot.git_dirty is False
    user.write("deps/module/lib", "2")
    changed = await take_snapshot(state, user.root)
    assert tree_entries(state, changed.tree)[b"deps/module/lib"] == ("100644", b"2")
    assert changed.git_dirty is True
    user.write("deps/module/lib", "1")
    assert (await take_snapshot(state, user.root)).tree == snapshot.tree
    user.path("deps/module/.git").unlink()
    assert (await take_snapshot(state, user.root)).tree == snapshot.tree


async def test_what_only_looks_like_a_repository_is_a_directory(
    user: UserTree, state: Path
) -> None:
    user.write("copied/.git", "gitdir: ../elsewhere/.git/modules/copied\n")
    user.write("copied/file", "x")
    user.path("src/.git").mkdir()
    first = await take_snapshot(state, user.root)
    assert b"copied/file" in tree_entries(state, first.tree)
    user.git("add", "copied/file")
    assert (await take_snapshot(state, user.root)).tree == first.tree


async def test_a_file_or_directory_may_become_a_repository_and_stop_being_one(
    user: UserTree, state: Path
) -> None:
    user.write("file")
    await take_snapshot(state, user.root)
    user.path("file").unlink()
    UserTree(user.path("file")).init().write("inside", "x")
    assert b"file/inside" in await names(state, user)
    user.write("inner/.gitignore", "*.o\n")
    user.write("inner/file", "x")
    plain = await take_snapshot(state, user.root)
    inner = UserTree(user.root / "inner").init()
    unborn = await take_snapshot(state, user.root)
    inner.write("x.o", "object")
    inner.git("add", "--force", "x.o")
    inner.commit()
    tracked = await take_snapshot(state, user.root)
    remove(inner.root / ".git")
    again = await take_snapshot(state, user.root)
    assert plain.tree == unborn.tree == again.tree
    assert set(tree_entries(state, tracked.tree)) == {
        *tree_entries(state, plain.tree),
        b"inner/x.o",
    }


POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize("in_git", [True, False])
@pytest.mark.parametrize("known", [True, False])
async def test_an_lfs_pointer_is_refused(
    tmp_path: Path, state: Path, *, in_git: bool, known: bool
) -> None:
    user = UserTree(tmp_path / "large")
    user.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    user.write("pointer.txt", POINTER)
    if in_git:
        user.init()
    if known:
        await take_snapshot(state, user.root)
    user.write("assets/big one.bin", POINTER)
    user.write("assets/z.bin", POINTER)
    for _ in range(2):
        with pytest.raises(UsageError, match=r"assets/big one\.bin \(and 1 more\) is a Git LFS"):
            (await take_snapshot(state, user.root)).lacks.check(keeps_all)
    user.write("assets/big one.bin", b"content")
    user.write("assets/z.bin", b"content")
    assert b"assets/z.bin" in await names(state, user)
    user.write(".gitattributes", "*.txt filter=lfs\n")
    with pytest.raises(UsageError, match=r"pointer\.txt is a Git LFS pointer"):
        (await take_snapshot(state, user.root)).lacks.check(keeps_all)


async def test_a_fetched_lfs_file_has_its_content(user: UserTree, state: Path) -> None:
    pointer = user.write(".git/pointer", POINTER)
    user.git("config", "filter.lfs.clean", f"cat '{pointer}'")
    user.git("config", "filter.lfs.required", "true")
    user.write(".gitattributes", "*.bin filter=lfs -text\n")
    user.write("big.bin", "the content itself")
    user.commit()
    assert user.git("cat-file", "blob", ":big.bin") == POINTER
    snapshot = await take_snapshot(state, user.root)
    assert tree_entries(state, snapshot.tree)[b"big.bin"] == ("100644", b"the content itself")
    assert snapshot.git_dirty is False


async def test_pruning_keeps_what_is_kept_and_what_was_just_used(
    user: UserTree, state: Path
) -> None:
    trees = []
    for number in range(3):
        user.write("file", str(number))
        trees.append((await take_snapshot(state, user.root)).tree)
    for tree in trees[:2]:
        os.utime(state / "git" / "refs" / "pikaci" / tree, (0, 0))
    assert await prune_repository(state, lambda: {trees[0]}) == [trees[1]]
    assert tree_entries(state, trees[0])[b"file"] == ("100644", b"0")
    assert tree_entries(state, trees[2])[b"file"] == ("100644", b"2")
    with pytest.raises(subprocess.CalledProcessError):
        tree_entries(state, trees[1])
    user.write("file", "1")
    again = await take_snapshot(state, user.root)
    assert again.tree == trees[1]
    assert tree_entries(state, trees[1])[b"file"] == ("100644", b"1")
