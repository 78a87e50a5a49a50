"""The commands that pikaci advises: each is run here, and helps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from privilege import only_root_can
from usertree import UserTree, remove

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.project import Done, Project

FLAKE = """
{
  inputs.dep.url = "git+file://@dep@";
  outputs = { dep, ... }: {
    pikaci = (import ./pikaci-lib).mkCatalog {
      systems = [ "@system@" ];
      targets = _: { hello.jobs.it.command = import ./command.nix + dep.word; };
    };
  };
}
"""
PINS = "flake.lock does not pin dep"


@pytest.fixture
def unlocked(bare_project: Project, tmp_path: Path) -> Project:
    """A flake outside git whose input is not locked."""
    dep = UserTree(tmp_path / "dep").init()
    dep.write("flake.nix", '{ outputs = _: { word = "hello"; }; }')
    dep.commit()
    flake = FLAKE.replace("@dep@", str(dep.root)).replace("@system@", bare_project.system)
    bare_project.write("flake.nix", flake)
    bare_project.write("command.nix", '"echo "')
    settings = "experimental-features = nix-command flakes"
    inherited = os.environ.get("NIX_CONFIG", "")
    return bare_project.with_env(NIX_CONFIG=f"{inherited}\n{settings}")


def advised(project: Project, done: Done, before: str) -> str:
    """Run the command that stands in backticks behind `before`."""
    found = re.search(f"{re.escape(before)}[^`]*`([^`]+)`", done.err)
    assert found, done
    argv = ["sh", "-c", found[1]]
    env = project.env() | {"PIKACI_STATE_ROOT": str(project.state)}
    shell = subprocess.run(
        argv, cwd=project.cwd or project.root, env=env, capture_output=True, text=True, check=False
    )
    assert shell.returncode == 0, (found[1], shell)
    return found[1]


def in_git(project: Project) -> None:
    project.tree.init()
    project.tree.commit()


def untracked(project: Project) -> None:
    project.tree.init()


def lock_ignored(project: Project) -> None:
    project.write(".gitignore", "*.lock\n")
    in_git(project)


def below_a_leftover(project: Project) -> None:
    (project.root.parent / ".git").mkdir()


def outside_git(_project: Project) -> None:
    pass


@pytest.mark.parametrize("make", [in_git, untracked, lock_ignored, below_a_leftover, outside_git])
def test_what_locks_a_flake(unlocked: Project, make: Callable[[Project], None]) -> None:
    make(unlocked)
    before = shutil.copytree(unlocked.root, unlocked.root.with_name("before"))
    for where in (".", "pikaci-lib", ".."):
        project = unlocked.at(unlocked.root / where)
        flake = ("--flake", "repo") if where == ".." else ()
        advised(project, project.here("plan", "hello", *flake).passed(), PINS)
        assert PINS not in project.here("plan", "hello", *flake).passed().err
        remove(unlocked.root)
        shutil.copytree(before, unlocked.root)


def test_a_lock_file_that_git_ignores_is_named(unlocked: Project) -> None:
    lock_ignored(unlocked)
    nix = ["nix", "flake", "lock"]
    subprocess.run(nix, cwd=unlocked.root, env=unlocked.env(), check=True, capture_output=True)
    done = unlocked.here("plan", "hello").passed()
    assert "git ignores flake.lock" in done.err
    assert advised(unlocked, done, PINS) == "git add -f flake.lock"
    assert PINS not in unlocked.here("run", "hello").passed().err


@pytest.mark.parametrize("name", ["flake.nix", "command.nix"])
@pytest.mark.parametrize("where", [".", "pikaci-lib"])
def test_a_file_of_the_flake_that_git_ignores_is_named(
    unlocked: Project, name: str, where: str
) -> None:
    unlocked.write(".gitignore", f"{name}\n")
    in_git(unlocked)
    project = unlocked.at(unlocked.root / where)
    done = project.here("run", "hello")
    assert done.code == 2
    assert "git ignores " in done.err
    assert advised(project, done, name).startswith("git add -f ")
    project.here("plan", "hello").passed()


@pytest.mark.parametrize("ignored", ["/files/", "/files/*"])
@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("toString (builtins.attrNames (builtins.readDir ./files))", "files"),
        ('toString (builtins.attrNames (builtins.readDir (./files + "/a b")))', "'files/a b'"),
        ('throw "lib.fileset.toSource: `root` (${toString ./files}) does not exist."', "files"),
        ('throw "pikaci: expected a file, found ${toString ./files}, which isn\'t"', "files"),
        (f'throw "neither ${{./.}}/a nor ${{./.}}/files is {200 * "so "}"', "files"),
    ],
)
def test_what_the_flake_reads_and_git_ignores_is_named(
    project: Project, ignored: str, command: str, name: str
) -> None:
    project.define(f"  it.jobs.it.command = {command};")
    project.write("files/a b/c")
    project.write(".gitignore", f"{ignored}\n")
    done = project.here("run", "it")
    assert done.code == 2
    assert f"git ignores {name}, so it is not in the snapshot" in done.err
    assert advised(project, done, "so it is not in the snapshot") == f"git add -f {name}"


def test_an_empty_directory_that_the_flake_reads_is_named(project: Project) -> None:
    project.define("  it.jobs.it.command = toString (builtins.attrNames (builtins.readDir ./a));")
    project.path("a").mkdir()
    done = project.here("run", "it")
    assert advised(project, done, "a has no files, so it is not") == "touch a/.gitkeep"
    project.here("plan", "it").passed()


@pytest.mark.parametrize("name", ["flake.nix", "command.nix"])
@pytest.mark.parametrize("make", [untracked, outside_git])
def test_a_private_file_of_the_flake_is_named(
    unlocked: Project, name: str, make: Callable[[Project], None]
) -> None:
    make(unlocked)
    unlocked.path(name).chmod(0o600)
    done = unlocked.here("run", "hello")
    assert done.code == 2
    advised(unlocked, done, "so it is not in the snapshot")
    unlocked.here("plan", "hello").passed()


def test_an_untracked_flake_that_git_overlooks_is_named(unlocked: Project) -> None:
    unlocked.tree.init()
    unlocked.tree.git("config", "status.showUntrackedFiles", "no")
    unlocked.tree.git("add", "command.nix", "pikaci-lib")
    done = unlocked.here("targets")
    assert "git does not track flake.nix" in done.err
    assert advised(unlocked, done, "so it is not in the snapshot") == "git add flake.nix"
    unlocked.here("run", "hello").passed()


def test_a_repository_of_somebody_else_is_trusted_by_gits_own_command(project: Project) -> None:
    only_root_can("give files to others")
    for path in (project.root, *project.root.rglob("*")):
        os.lchown(path, 12345, 12345)
    mine = project.with_env(GIT_CONFIG_GLOBAL=str(project.root.parent / "gitconfig"))
    selecting = mine.here("select", "--base", "HEAD", "--head", "HEAD").refused(2)
    done = mine.here("run", "hello")
    assert done.refused(2) == selecting
    assert "detected dubious ownership" in selecting
    assert "safe.directory" in advised(mine, done, "if you trust it")
    mine.here("run", "hello").passed()
