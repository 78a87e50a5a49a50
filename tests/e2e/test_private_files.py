"""What a run takes of a directory: the project's own files, and nothing that is somebody's secret.

A snapshot goes to the Nix store, which everybody on the machine may read.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from jerichoci.snapshot.snapshot import take_snapshot
from usertree import UserTree, tree_entries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.project import Json, Project

# The job's command is a list of the files that the flake has in the store.
LISTS = """
  lists.jobs.it.command = let
    below = prefix: directory: builtins.concatMap
      (name: if (builtins.readDir directory).${name} == "directory"
        then below "${prefix}${name}/" (directory + "/${name}")
        else [ "${prefix}${name}" ])
      (builtins.attrNames (builtins.readDir directory));
    root = builtins.head (builtins.match "(/nix/store/[^/]+).*" (toString ./.));
  in "true " + toString (below "" root);
"""
OWN = {"flake.nix", "targets.nix"}


def in_store(project: Project) -> set[str]:
    """The files that go to the store, but those of the flake."""
    (job,) = project.here("plan", "lists", "--json").passed().json["nodes"]
    names = set(job["execute"]["command"].split()[1:])
    return {name for name in names if "pikaci-lib/" not in name} - OWN


def listed(project: Project) -> set[str]:
    """The files of a snapshot, but those of the flake: what goes to the store."""
    with patch.dict(os.environ, project.env(), clear=True):
        tree = asyncio.run(take_snapshot(project.state, project.cwd or project.root)).tree
    names = set(map(os.fsdecode, tree_entries(project.state, tree)))
    return {name for name in names if "pikaci-lib/" not in name} - OWN


@pytest.fixture
def home(bare_project: Project) -> Path:
    """A home directory with a key in it, and below it a project that is in no repository."""
    home = bare_project.root.parent / "somebody"
    bare_project.define(LISTS)
    home.mkdir()
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh/id").write_text("secret")
    (home / "notes").write_text("not the project's")
    shutil.copytree(bare_project.root, home / "project")
    (home / "project/file").touch()
    return home


def leftover(home: Path) -> None:
    (home / ".git").mkdir()


def damaged(home: Path) -> None:
    subprocess.run(["git", "init", "-q", str(home)], check=True)
    (home / ".git/HEAD").write_bytes(b"")


def bare(home: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(home / ".git")], check=True)


def elsewhere(home: Path) -> None:
    (home / "other").mkdir()
    subprocess.run(["git", "init", "-q", str(home)], check=True)
    subprocess.run(["git", "-C", str(home), "config", "core.worktree", "../other"], check=True)


@pytest.mark.parametrize("make", [leftover, damaged, bare, elsewhere])
def test_a_git_directory_above_that_holds_no_work_tree_takes_no_home_along(
    bare_project: Project, home: Path, make: Callable[[Path], None]
) -> None:
    make(home)
    project = bare_project.at(home / "project")
    assert listed(project) == {"file"}
    record = project.run("lists")
    assert record["source_root"] == str(home / "project")
    assert record["git_dirty"] is None


@pytest.mark.parametrize(
    ("make", "why"),
    [(damaged, "git does not accept"), (bare, "is bare, or has its work tree elsewhere")],
)
def test_a_git_directory_of_its_own_that_git_does_not_take_is_refused(
    bare_project: Project, home: Path, make: Callable[[Path], None], why: str
) -> None:
    make(home / "project")
    sentence = bare_project.at(home / "project").here("run", "lists").refused(2)
    assert why in sentence
    assert f"{home}/project/.git" in sentence


def test_an_empty_git_directory_of_its_own_is_none(bare_project: Project, home: Path) -> None:
    leftover(home / "project")
    assert listed(bare_project.at(home / "project")) == {"file"}


def test_a_flake_below_a_repository_with_a_leftover_between_is_the_repositorys(
    project: Project,
) -> None:
    project.define(LISTS, where="a/b")
    leftover(project.root / "a")
    project.tree.commit()
    assert "a/b/flake.nix" in listed(project.at(project.root / "a/b"))


@pytest.mark.parametrize("asked", ["--get-regexp", "--exclude-standard", "grep"])
def test_what_git_can_not_tell_is_not_taken_for_nothing(project: Project, asked: str) -> None:
    failing = project.shimmed("git", 'echo "fatal: no memory" >&2; exit 128', of=asked)
    assert "failed: no memory" in failing.here("run", "hello").refused(75)


@pytest.mark.parametrize("value", ["no", "false"])
def test_untracked_files_that_git_is_told_to_overlook_are_left_out(
    bare_project: Project, home: Path, value: str
) -> None:
    git = UserTree(home).init()
    git.git("config", "status.showUntrackedFiles", value)
    git.git("add", "project")
    project = bare_project.at(home / "project")
    done = project.here("plan", "lists").passed()
    assert "status.showUntrackedFiles" in done.err
    assert listed(project) == {"project/flake.nix", "project/targets.nix", "project/file"}
    (home / "project/file").write_text("edited")
    (home / "project/later").touch()
    (home / "project/also").touch()
    git.git("add", "project/later")
    assert "project/later" in listed(project)
    assert "project/also" not in listed(project)
    (home / "project/file").unlink()
    assert "project/file" not in listed(project)
    git.git("config", "status.showUntrackedFiles", "normal")
    assert {"project/also", "notes"} <= listed(project)
    git.git("config", "status.showUntrackedFiles", "no")
    assert "notes" not in listed(project)


def test_an_untracked_file_for_its_owner_alone_is_left_out_and_named(project: Project) -> None:
    project.define(LISTS)
    project.write("tracked", "x", mode=0o600)
    project.tree.commit()
    project.write(".env", "TOKEN", mode=0o600)
    project.write("shared", "x", mode=0o640)
    project.write("keys/id", "TOKEN")
    project.path("keys").chmod(0o700)
    done = project.here("run", "lists").passed()
    assert "only their owner may read them: .env, keys/id; `git add` takes them in" in done.err
    assert listed(project) == in_store(project) == {"tracked", "shared"}
    assert project.record()["git_dirty"] is True
    project.path(".env").chmod(0o644)
    project.path("keys").chmod(0o755)
    assert listed(project) == {"tracked", "shared", ".env", "keys/id"}
    project.path(".env").chmod(0o400)
    project.path("keys").chmod(0o700)
    assert listed(project) == {"tracked", "shared"}
    project.tree.git("add", ".env", "keys")
    assert listed(project) == {"tracked", "shared", ".env", "keys/id"}
    project.write("keys/new")  # only its owner may enter the directory
    assert "keys/new" not in listed(project)
    project.tree.git("add", "keys")
    assert "keys/new" in listed(project)
    project.tree.git("rm", "--cached", "-rq", ".env", "keys")
    assert listed(project) == {"tracked", "shared"}


def test_a_tracked_file_that_is_made_anew_is_taken_whatever_its_mode(project: Project) -> None:
    project.write("tracked", "x", mode=0o600)
    project.tree.commit()
    assert "tracked" in listed(project)
    project.path("tracked").unlink()
    assert "tracked" not in listed(project)
    project.write("tracked", "y", mode=0o600)
    assert "tracked" in listed(project)


def test_outside_git_private_files_are_left_out_too(bare_project: Project) -> None:
    bare_project.define(LISTS)
    bare_project.write(".env", "TOKEN", mode=0o600)
    bare_project.write("keys/id", "TOKEN")
    bare_project.write("file")
    assert {".env", "keys/id"} & listed(bare_project) == {"keys/id"}
    bare_project.path("keys").chmod(0o700)
    assert listed(bare_project) == {"file"}
    done = bare_project.here("plan", "lists").passed()
    assert "read them: .env, keys/id; `chmod go+rX`" in done.err
    subprocess.run(["chmod", "go+rX", ".env", "keys"], cwd=bare_project.root, check=True)
    assert listed(bare_project) == {".env", "keys/id", "file"}
    bare_project.path("file").chmod(0o600)
    assert listed(bare_project) == {".env", "keys/id"}


def test_a_name_in_a_note_is_escaped(project: Project) -> None:
    project.define(LISTS)
    project.write("a\x1bc\nb", mode=0o600)
    assert "a\\x1bc\\nb;" in project.here("plan", "lists").passed().err


def test_a_home_that_is_no_repository_is_refused(bare_project: Project) -> None:
    at_home = bare_project.with_env(HOME=str(bare_project.root))
    sentence = at_home.here("run", "hello").refused(2)
    assert f"all of {bare_project.root} would go to the Nix store" in sentence
    bare_project.tree.init()
    bare_project.tree.commit()
    at_home.here("run", "hello").passed()


def test_the_home_of_the_user_whose_directory_it_is_is_refused(
    bare_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pwd.struct_passwd(("x", "x", 1, 1, "", str(bare_project.root), "/bin/sh"))
    monkeypatch.setattr("pwd.getpwuid", lambda _uid: entry)
    sentence = bare_project.here("run", "hello").refused(2)
    assert f"all of {bare_project.root} would go to the Nix store" in sentence


def test_a_private_clone_inside_is_left_out(project: Project) -> None:
    for name, mode in (("open", 0o755), ("closed", 0o700)):
        UserTree(project.root / name).init().write("file")
        project.path(name).chmod(mode)
    assert listed(project) == {"open/file"}
    project.path("closed").chmod(0o755)
    assert listed(project) == {"open/file", "closed/file"}


def test_a_commit_is_taken_whole_however_private_its_files_are_made(project: Project) -> None:
    project.define(LISTS)
    project.write("file")
    then = project.tree.commit()
    argv = ["sh", "-c", 'umask 077; exec "$@"', "sh", *project.argv("run", "lists")]
    source = f"git+file://{project.root}?rev={then}"
    subprocess.run([*argv, "--source", source], cwd=project.root, env=project.env(), check=True)
    inside = project.with_env(PIKACI_STATE_ROOT=str(project.root / ".state"))
    records: list[Json] = [project.record(), inside.run("lists", "--source", source)]
    tree = project.tree.git("rev-parse", f"{then}^{{tree}}").decode().strip()
    assert [record["snapshot_id"] for record in records] == [tree, tree]


def test_a_home_that_is_a_repository_keeps_its_untracked_files(
    bare_project: Project, home: Path
) -> None:
    git = UserTree(home)
    git.init()
    git.git("add", "project")
    project = bare_project.at(home / "project").with_env(HOME=str(home))
    own = {"project/file", "project/flake.nix", "project/targets.nix"}
    assert listed(project) == own
    done = project.here("plan", "lists").passed()
    assert "the repository is a whole home directory" in done.err
    git.git("config", "status.showUntrackedFiles", "normal")
    assert listed(project) == own | {"notes"}
