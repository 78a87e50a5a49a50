"""Files that git overlooks, and content that is not on this machine: what is said of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from jerichoci.snapshot.snapshot import take_snapshot
from usertree import UserTree

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Done, Project

LISTS = '  lists = { snapshot.exclude = [ "assets/**" ]; jobs.it.command = "find .; cat src/a"; };'
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * "1" + "\nsize 12345\n"


@pytest.fixture
def listed(project: Project) -> Project:
    project.define(LISTS)
    project.write("src/a", "one\n")
    project.write("tests/run", "exit 1\n")
    project.tree.commit()
    return project


@pytest.mark.parametrize(
    ("commands", "named", "missing"),
    [
        ((("sparse-checkout", "set", "--cone", "src", "pikaci-lib"),), "tests/run", True),
        ((("update-index", "--skip-worktree", "tests/run"), ()), "tests/run", True),
        ((("update-index", "--assume-unchanged", "tests/run"), ()), "tests/run", True),
        ((("update-index", "--assume-unchanged", "src/a"), ("src/a",)), "src/a", False),
        ((("update-index", "--skip-worktree", "src/a"), ("src/a",)), "src/a", False),
    ],
)
def test_what_git_is_told_to_overlook_makes_a_tree_dirty(
    listed: Project, commands: tuple[tuple[str, ...], ...], named: str, *, missing: bool
) -> None:
    listed.tree.git(*commands[0])
    if missing:
        listed.path(named).unlink(missing_ok=True)
    else:
        listed.write(named, "edited\n")
    assert listed.tree.git("status", "--porcelain") == b""
    done = listed.here("run", "lists").passed()
    assert f"{named} differs from HEAD" in done.err
    assert listed.record()["git_dirty"] is True
    lines = listed.log("it").splitlines()
    assert ("./tests/run" not in lines) if missing else ("edited" in lines)


def test_a_mode_that_git_is_told_to_overlook_makes_a_tree_dirty(listed: Project) -> None:
    listed.tree.git("update-index", "--assume-unchanged", "src/a")
    listed.path("src/a").chmod(0o755)
    assert "src/a differs from HEAD" in listed.here("run", "lists").passed().err
    assert listed.record()["git_dirty"] is True
    listed.tree.git("config", "core.fileMode", "false")
    assert not is_dirty(listed)


def test_a_sparse_checkout_of_all_files_is_clean(listed: Project) -> None:
    listed.tree.git("sparse-checkout", "set", "--no-cone", "/*")
    listed.tree.git("update-index", "--assume-unchanged", "src/a")
    done = listed.here("run", "lists").passed()
    assert "differs from HEAD" not in done.err
    assert listed.record()["git_dirty"] is False


def test_more_files_than_are_compared_one_by_one_are_seen_too(listed: Project) -> None:
    names = [f"many/{number}" for number in range(300)]
    for name in names:
        listed.write(name, "1")
    listed.tree.commit()
    listed.tree.git("update-index", "--assume-unchanged", *names)
    for name in names:
        listed.write(name, "2")
    done = listed.here("run", "lists").passed()
    assert "(and 299 more) differs from HEAD" in done.err
    assert listed.record()["git_dirty"] is True


def test_an_lfs_pointer_that_no_job_sees_is_passed_over(listed: Project) -> None:
    listed.write(".gitattributes", "*.film filter=lfs -text\n")
    listed.write("assets/a.film", POINTER)
    assert "assets/a.film has no content here" in listed.here("plan", "lists").passed().err
    assert "assets/a.film has no content here" in listed.here("run", "lists").passed().err
    listed.write("src/b.film", POINTER)
    sentence = listed.here("run", "lists").refused(2)
    assert "src/b.film is a Git LFS pointer" in sentence
    listed.write("src/b.film", "content")
    assert "assets/a.film has no content here" in listed.here("plan", "lists").passed().err
    listed.write("assets/a.film", "content")
    assert "no content" not in listed.here("run", "lists").passed().err


def test_a_mistake_in_the_catalog_is_said_whatever_else_is_not_there(listed: Project) -> None:
    listed.write(".gitattributes", "*.film filter=lfs -text\n")
    listed.write("assets/a.film", POINTER)
    listed.define(LISTS.replace("command", "comand"))
    assert "comand" in listed.here("run", "lists").refused(2)


def test_a_flake_that_reads_a_missing_submodule_is_told_of_it(
    listed: Project, module: UserTree
) -> None:
    clone = cloned(listed, module, "deps/it")
    flake = listed.root.with_name("clone") / "targets.nix"
    flake.write_text(flake.read_text().replace('"find', 'builtins.readFile ./deps/it/lib + "find'))
    assert "submodule deps/it is not checked out" in clone.here("run", "lists").err


@pytest.fixture
def module(tmp_path: Path) -> UserTree:
    module = UserTree(tmp_path / "module").init()
    module.write("lib", "1")
    module.commit()
    return module


def cloned(project: Project, module: UserTree, where: str) -> Project:
    """A clone of the project, with a submodule that is not checked out."""
    project.tree.git("submodule", "--quiet", "add", module.root.as_uri(), where)
    project.tree.commit()
    clone = project.root.with_name("clone")
    project.tree.git("clone", "--quiet", str(project.root), str(clone))
    return project.at(clone)


@pytest.fixture
def inner(listed: Project, module: UserTree) -> UserTree:
    """A submodule of the project, checked out, with a submodule of its own."""
    module.git("submodule", "--quiet", "add", module.root.as_uri(), "deep")
    module.commit()
    listed.tree.git("submodule", "--quiet", "add", module.root.as_uri(), "src/it")
    listed.tree.git("submodule", "--quiet", "update", "--init", "--recursive")
    listed.tree.commit()
    return UserTree(listed.root / "src/it")


def is_dirty(project: Project) -> bool | None:
    """What the record of a run would have."""
    with project.inside():
        return asyncio.run(take_snapshot(project.state, project.root)).git_dirty


@pytest.mark.parametrize(
    "told",
    [
        ("config", "diff.ignoreSubmodules", "all"),
        ("config", "submodule.src/it.ignore", "all"),
        ("config", "-f", ".gitmodules", "submodule.src/it.ignore", "all"),
        ("update-index", "--assume-unchanged", "src/it"),
    ],
)
def test_a_submodule_that_git_is_told_to_ignore_makes_a_tree_dirty_if_it_differs(
    listed: Project, inner: UserTree, told: tuple[str, ...]
) -> None:
    listed.tree.git(*told)
    listed.tree.git("commit", "--quiet", "--all", "--allow-empty", "-m", "told")
    assert not is_dirty(listed)
    inner.write("lib", "2")
    assert is_dirty(listed)
    inner.commit()
    assert is_dirty(listed)
    inner.git("checkout", "--quiet", "HEAD~1")
    assert not is_dirty(listed)


def test_what_git_is_told_to_overlook_in_a_submodule_makes_a_tree_dirty(
    listed: Project, inner: UserTree
) -> None:
    inner.git("config", "submodule.deep.ignore", "all")
    inner.write("deep/lib", "2")
    assert is_dirty(listed)
    inner.write("deep/lib", "1")
    assert not is_dirty(listed)
    inner.git("update-index", "--skip-worktree", "lib")
    inner.path("lib").unlink()
    assert "src/it/lib differs from HEAD" in listed.here("run", "lists").passed().err
    assert listed.record()["git_dirty"] is True


def refused(done: Done) -> bool:
    return done.code == 2 and "is not checked out" in done.err


def test_a_submodule_that_is_not_checked_out_is_refused_where_a_job_sees_it(
    listed: Project, module: UserTree
) -> None:
    clone = cloned(listed, module, "deps/it")
    assert refused(clone.here("run", "lists"))
    git = UserTree(listed.root.with_name("clone"))
    git.git("submodule", "--quiet", "update", "--init")
    clone.here("run", "lists").passed()
    git.git("submodule", "--quiet", "deinit", "--all", "--force")
    assert refused(clone.here("run", "lists"))


def test_a_submodule_that_no_job_sees_is_passed_over(listed: Project, module: UserTree) -> None:
    clone = cloned(listed, module, "assets/it")
    assert "assets/it has no content here" in clone.here("run", "lists").passed().err


def embedding(project: Project, where: str) -> Project:
    """A clone of the project, which runs with a repository that was added as it is."""
    nested = UserTree(project.path(where)).init()
    nested.write("file", "1")
    nested.commit()
    project.tree.commit()
    project.here("run", "lists").passed()
    clone = project.root.with_name("clone")
    project.tree.git("clone", "--quiet", str(project.root), str(clone))
    return project.at(clone)


def test_a_repository_in_it_that_no_clone_has_is_refused_where_a_job_sees_it(
    listed: Project,
) -> None:
    clone = embedding(listed, "nested")
    assert "./nested/file" in listed.log("it").splitlines()
    done = clone.here("run", "lists")
    assert done.code == 2
    assert "can't check out the submodule nested: .gitmodules doesn't name it" in done.err
    UserTree(listed.root.with_name("clone")).git("rm", "--quiet", "--cached", "nested")
    clone.here("run", "lists").passed()


def test_a_repository_in_it_that_no_clone_has_and_no_job_sees_is_passed_over(
    listed: Project,
) -> None:
    done = embedding(listed, "assets/nested").here("run", "lists").passed()
    assert "assets/nested has no content here" in done.err


@pytest.mark.parametrize(
    "settings",
    [
        (("submodule.deps/it.active", "false"),),
        (("submodule.deps/it.update", "none"),),
        (("submodule.active", "other"), ("submodule.active", ":(exclude)deps")),
    ],
)
def test_an_inactive_submodule_is_passed_over(
    listed: Project, module: UserTree, settings: tuple[tuple[str, str], ...]
) -> None:
    clone = cloned(listed, module, "deps/it")
    git = UserTree(listed.root.with_name("clone"))
    for name, value in settings:
        git.git("config", "--add", name, value)
    assert "submodule deps/it is inactive" in clone.here("plan", "lists").passed().err
    assert "submodule deps/it is inactive" in clone.here("run", "lists").passed().err
    assert clone.record()["git_dirty"] is False
    for name in {name for name, _ in settings}:
        git.git("config", "--unset-all", name)
    assert refused(clone.here("run", "lists"))
