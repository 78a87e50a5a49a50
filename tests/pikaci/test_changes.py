from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import InfrastructureError, UsageError
from jerichoci.machine.glob import compile_globs
from pikaci.changes import changed_between, changed_since, file_at
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path


def git(repo: Path, *args: str) -> str:
    return UserTree(repo).git(*args).decode().strip()


def write(repo: Path, *paths: str, content: str = "") -> None:
    for path in paths:
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_bytes(os.fsencode(content or path))


def commit(repo: Path, *paths: str, content: str = "") -> str:
    write(repo, *paths, content=content)
    return UserTree(repo).commit()


def new_repo(where: Path) -> Path:
    where.mkdir()
    git(where, "init", "-qb", "main")
    commit(where, "kept", "moved", "removed", "sub/edited")
    git(where, "tag", "start")
    return where


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return new_repo(tmp_path / "repo")


async def test_a_change_is_what_the_branch_did_since_it_left(repo: Path) -> None:
    git(repo, "checkout", "-qb", "branch")
    head = commit(repo, "sub/edited", "added", content="new")
    git(repo, "checkout", "-q", "main")
    base = commit(repo, "elsewhere")
    change = await changed_between(repo, "main", "branch")
    assert (change.base, change.head) == (base, head)
    assert change.paths == ("added", "sub/edited")


async def test_moved_and_removed_files_have_changed(repo: Path) -> None:
    git(repo, "mv", "moved", "there")
    git(repo, "rm", "-q", "removed")
    commit(repo)
    change = await changed_between(repo, "start", "HEAD")
    assert change.paths == ("moved", "removed", "there")


async def test_any_file_name_survives(repo: Path) -> None:
    names = ["new\nline", "sp ace", 'quo"te', "é", os.fsdecode(b"latin\xe9")]
    commit(repo, *names)
    change = await changed_between(repo, "start", "HEAD")
    assert set(change.paths) == set(names)


async def test_nothing_changed_is_an_empty_change(repo: Path) -> None:
    assert (await changed_between(repo, "start", "HEAD")).paths == ()
    assert (await changed_since(repo, "HEAD")).paths == ()


async def test_the_working_tree_counts_commits_edits_and_untracked_files(repo: Path) -> None:
    commit(repo, "committed", ".gitignore", content="ignored\n")
    write(repo, "staged")
    git(repo, "add", "staged")
    write(repo, "untracked/new", "ignored", "sub/edited", content="x")
    (repo / "removed").unlink()
    change = await changed_since(repo, "start")
    assert change.head is None
    assert change.paths == (
        ".gitignore",
        "committed",
        "removed",
        "staged",
        "sub/edited",
        "untracked/new",
    )


async def test_the_working_tree_is_compared_with_where_it_left(repo: Path) -> None:
    git(repo, "checkout", "-qb", "branch")
    write(repo, "mine")
    git(repo, "checkout", "-q", "main")
    (repo / "mine").rename(repo.parent / "mine")
    commit(repo, "theirs")
    git(repo, "checkout", "-q", "branch")
    (repo.parent / "mine").rename(repo / "mine")
    assert (await changed_since(repo, "main")).paths == ("mine",)


async def test_a_touched_file_has_not_changed_and_the_index_is_left_alone(repo: Path) -> None:
    os.utime(repo / "kept", (1, 1))
    before = (repo / ".git/index").read_bytes()
    assert (await changed_since(repo, "HEAD")).paths == ()
    assert (repo / ".git/index").read_bytes() == before


async def test_an_edit_within_the_second_of_the_commit_has_changed(repo: Path) -> None:
    await asyncio.sleep(1 - time.time() % 1)
    commit(repo, "sub/edited", content="1")
    write(repo, "sub/edited", content="2")
    await asyncio.sleep(1 - time.time() % 1)
    assert (await changed_since(repo, "HEAD")).paths == ("sub/edited",)


async def test_paths_are_relative_to_the_directory_asked_about(repo: Path) -> None:
    head = commit(repo, "sub/edited", "outside", content="x")
    write(repo, "sub/untracked", "untracked")
    assert (await changed_between(repo / "sub", "start", head)).paths == ("edited",)
    assert (await changed_since(repo / "sub", "start")).paths == ("edited", "untracked")
    assert await file_at(repo / "sub", "HEAD", "edited") == b"x"


async def test_a_bare_repository_will_do(repo: Path, tmp_path: Path) -> None:
    commit(repo, "new")
    bare = tmp_path / "bare"
    git(repo, "clone", "-q", "--bare", str(repo), str(bare))
    assert (await changed_between(bare, "start", "main")).paths == ("new",)
    assert await file_at(bare, "main", "sub/edited") == b"sub/edited"


async def test_settings_of_the_user_change_nothing(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repo, "config", "diff.renames", "copies")
    git(repo, "config", "diff.external", "false")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    write(repo, "kept", content="edited")
    assert (await changed_since(repo, "start")).paths == ("kept",)


SETTINGS = [
    ("diff.orderFile", "/dev/null"),
    ("diff.noprefix", "true"),
    ("diff.mnemonicPrefix", "true"),
    ("diff.relative", "true"),
    ("diff.autoRefreshIndex", "false"),
    ("diff.ignoreSubmodules", "all"),
    ("diff.submodule", "log"),
    ("diff.algorithm", "patience"),
    ("diff.wsErrorHighlight", "all"),
    ("diff.dirstat", "lines"),
    ("diff.x.textconv", "false"),
    ("diff.x.command", "false"),
    ("core.quotePath", "true"),
    ("core.ignoreStat", "true"),
    ("core.fsmonitor", "true"),
    ("core.untrackedCache", "true"),
    ("core.splitIndex", "true"),
    ("core.preloadIndex", "false"),
    ("core.pager", "false"),
    ("color.ui", "always"),
    ("status.relativePaths", "false"),
    ("log.showSignature", "true"),
    ("advice.statusHints", "false"),
]


@pytest.fixture(scope="module")
def edited_twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose last commit edits a file that is edited again, beside a touched one."""
    repo = new_repo(tmp_path_factory.mktemp("edited") / "repo")
    commit(repo, ".gitattributes", content="* diff=x\n")
    commit(repo, "kept", content="edited")
    write(repo, "kept", content="edited again")
    return repo


@pytest.mark.parametrize(("name", "value"), SETTINGS)
async def test_no_setting_of_git_hides_a_change_or_makes_one(
    edited_twice: Path, name: str, value: str
) -> None:
    os.utime(edited_twice / "sub/edited", (1, 1))
    git(edited_twice, "config", name, value)
    try:
        assert (await changed_since(edited_twice, "HEAD")).paths == ("kept",)
        assert (await changed_between(edited_twice, "HEAD^", "HEAD")).paths == ("kept",)
    finally:
        git(edited_twice, "config", "--unset", name)


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
async def test_a_file_that_git_was_told_to_overlook_has_changed(repo: Path, flag: str) -> None:
    git(repo, "update-index", flag, "kept", "sub/edited")
    before = (repo / ".git/index").read_bytes()
    write(repo, "kept", content="edited")
    assert (await changed_since(repo, "HEAD")).paths == ("kept",)
    assert (repo / ".git/index").read_bytes() == before


async def test_what_a_sparse_checkout_leaves_out_has_not_changed(repo: Path) -> None:
    git(repo, "sparse-checkout", "set", "--no-cone", "/kept")
    assert not (repo / "sub/edited").exists()
    assert (await changed_since(repo, "HEAD")).paths == ()


IGNORING = [
    ("config", "diff.ignoreSubmodules", "all"),
    ("config", "submodule.lib.ignore", "all"),
    ("config", "--file", ".gitmodules", "submodule.lib.ignore", "all"),
]


@pytest.fixture
def module(repo: Path, tmp_path: Path) -> Path:
    """A submodule `lib` of the repository, checked out."""
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-qb", "main")
    commit(other, "file")
    git(repo, "submodule", "--quiet", "add", str(other), "lib")
    git(repo, "commit", "-q", "-m", "lib")
    git(repo, "tag", "lib")
    return repo / "lib"


@pytest.mark.parametrize("setting", IGNORING)
async def test_a_submodule_that_git_is_told_to_ignore_has_changed(
    repo: Path, module: Path, setting: tuple[str, ...]
) -> None:
    git(repo, *setting)
    git(repo, "commit", "-q", "--allow-empty", "-a", "-m", "setting")
    git(repo, "tag", "setting")
    assert (await changed_since(repo, "setting")).paths == ()
    write(module, "file", content="edited")
    assert (await changed_since(repo, "setting")).paths == ("lib", "lib/")
    commit(module, "file", content="edited")
    assert (await changed_since(repo, "setting")).paths == ("lib", "lib/")
    git(repo, "update-index", "--add", "lib")
    git(repo, "commit", "-q", "--allow-empty", "-m", "bump")
    assert (await changed_between(repo, "setting", "HEAD")).paths == ("lib", "lib/")
    assert compile_globs(["lib/**"]).match("lib/")


@pytest.mark.parametrize("rev", ["nowhere", "0" * 40, "start:kept", "a b", "HEAD~9"])
async def test_an_unknown_revision_is_named(repo: Path, rev: str) -> None:
    with pytest.raises(UsageError, match=f"there is no revision `{rev}`"):
        await changed_between(repo, "start", rev)


@pytest.mark.parametrize("rev", ["", " ", "--output=/tmp/x", "-p", "a\0b"])
async def test_what_cannot_be_a_revision_never_reaches_git(repo: Path, rev: str) -> None:
    with pytest.raises(UsageError, match="is not a revision"):
        await changed_since(repo, rev)


async def test_a_file_is_read_from_a_commit(repo: Path) -> None:
    write(repo, "kept", content="edited since")
    assert await file_at(repo, "start", "kept") == b"kept"
    assert await file_at(repo, "start", "missing") is None
    assert await file_at(repo, "start", "sub/missing") is None


async def test_before_the_first_commit_there_is_no_revision(tmp_path: Path) -> None:
    git(tmp_path, "init", "-qb", "main")
    with pytest.raises(UsageError, match="there is no revision `HEAD`"):
        await changed_since(tmp_path, "HEAD")


async def test_outside_a_repository_the_directory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match="git finds no repository in"):
        await changed_since(tmp_path, "HEAD")


async def test_revisions_without_common_history_are_refused(repo: Path) -> None:
    git(repo, "checkout", "-q", "--orphan", "other")
    commit(repo, "unlike")
    with pytest.raises(UsageError, match="share no history"):
        await changed_between(repo, "main", "other")


async def test_a_machine_without_git_is_told_so(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InfrastructureError, match="git can't be started"):
        await changed_since(repo, "HEAD")


async def test_untracked_files_that_git_is_told_to_overlook_have_not_changed(repo: Path) -> None:
    git(repo, "config", "status.showUntrackedFiles", "no")
    write(repo, "untracked")
    write(repo, "kept", content="edited")
    assert (await changed_since(repo, "HEAD")).paths == ("kept",)
