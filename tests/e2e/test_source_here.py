"""A commit of a repository on this machine: the snapshot that a checkout of it would be."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from e2e.project import Project
from jerichoci.snapshot.repository import Repository
from pikaci import commit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.project import Json

CATS = '  cats = { trigger = "branch"; jobs.it.command = "cat file"; };'
LANES = '[[branch.lanes]]\nid = "files"\ntarget = "cats"\npaths = ["file"]\n'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.committed(tmp_path, CATS)
    project.lanes(LANES)
    project.write("file", "then\n")
    project.tree.commit()
    return project.at(tmp_path)


def head_of(project: Project) -> str:
    return project.tree.git("rev-parse", "HEAD").decode().strip()


def source_of(project: Project, repository: Path | None = None) -> tuple[str, str]:
    return "--source", f"git+file://{repository or project.root}?rev={head_of(project)}"


def bare_of(project: Project, *args: str) -> Path:
    """A bare clone."""
    bare = project.root.with_name("bare.git")
    argv = ["git", "clone", "-q", "--bare", *args, str(project.root), str(bare)]
    subprocess.run(argv, check=True)
    return bare


def planned(project: Project, *args: str) -> Json:
    found: Json = project.here("plan", *args, "--json").passed().json
    return found


def checked_out(project: Project, *args: str) -> Json:
    """What is planned by a checkout, in a state root of its own."""

    async def nothing(*_: object) -> None:
        return None

    with patch.object(commit, "snapshot_of_commit", nothing):
        root = str(project.state.with_name("checked-out"))
        done = project.here("plan", *args, "--json", "--set", "--state-root", root).passed()
    assert "fetched by " in done.err
    found: Json = done.json
    return found


def plain(_: Project) -> None:
    """As it is."""


def odd_names(project: Project) -> None:
    project.write(b"latin\xe9")
    project.write("a\nb")
    project.write("tool", "#!/bin/sh\n", mode=0o755)
    project.tree.link("link", "tool")
    project.write("empty")
    project.write(".gitattributes", "* text=auto eol=crlf ident\nlatin* export-ignore\n")
    project.write("crlf", "a\r\nb\r\n$Id$\n")
    project.tree.commit()


def old_modes(project: Project) -> None:
    """A tree as git wrote them once, with 100664, which no index has."""
    listed = project.tree.git("ls-tree", "-z", "HEAD").decode().split("\0")
    entries = "\0".join(entry.replace("100644", "100664") for entry in listed)
    argv = ["git", "-C", str(project.root), "mktree", "-z"]
    done = subprocess.run(argv, input=entries.encode(), check=True, capture_output=True)
    tree = done.stdout.decode().strip()
    assert b"100664" in project.tree.git("cat-file", "tree", tree)
    made = project.tree.git("commit-tree", "-m", "old", tree).decode().strip()
    project.tree.git("reset", "-q", "--soft", made)


@pytest.mark.parametrize("change", [plain, odd_names, old_modes])
def test_a_snapshot_is_that_of_a_checkout(
    project: Project, change: Callable[[Project], None]
) -> None:
    change(project)
    args = ("cats", *source_of(project))
    (quick,), (slow,) = (
        planned(project, *args, "--set")["plans"],
        checked_out(project, *args)["plans"],
    )
    for same in ("tree", "snapshot_id", "rev", "git_head", "git_dirty", "flake_dir"):
        assert quick["source"][same] == slow["source"][same]
    assert quick["plan"] == slow["plan"]
    assert project.run("cats", *source_of(project))["snapshot_id"] == slow["source"]["snapshot_id"]


def test_lanes_of_a_change_are_planned_in_a_bare_repository_by_its_own_head(
    project: Project,
) -> None:
    base = head_of(project)
    project.lanes(LANES.replace("files", "renamed"))
    project.write("file", "now\n")
    project.tree.commit()
    bare = bare_of(project)
    project.path("ci/forge-lanes.toml").write_text("broken")
    args = ("--lanes", "branch", "--base", base)
    found = planned(project, *args, *source_of(project, bare))
    assert (found["base"], found["head"]) == (base, head_of(project))
    assert found["changed_files"] == ["ci/forge-lanes.toml", "file"]
    assert [lane["id"] for lane in found["lanes"] if lane["selected"]] == ["renamed"]
    assert [plan["target_id"] for plan in found["plans"]] == ["cats"]
    everything = planned(project, "--lanes", "branch", *source_of(project, bare))
    assert [plan["target_id"] for plan in everything["plans"]] == ["cats"]


def test_the_working_tree_is_not_looked_at(project: Project) -> None:
    project.path("ci/forge-lanes.toml").write_text("broken")
    project.path("flake.nix").unlink()
    project.write("file", "edited\n")
    project.run("cats", *source_of(project))
    assert "then\n" in project.log("it")


def test_lanes_that_are_broken_in_the_commit_are_refused_by_line_and_column(
    project: Project,
) -> None:
    project.write("ci/forge-lanes.toml", "version = 1\nx = [")
    project.tree.commit()
    project.path("ci/forge-lanes.toml").unlink()
    for args in (("run", "cats"), ("plan", "--lanes", "branch"), ("plan", "cats", "--set")):
        sentence = project.here(*args, *source_of(project)).refused(2)
        assert "ci/forge-lanes.toml:2:6: " in sentence


def test_a_flake_in_a_directory_of_the_commit_is_planned(project: Project) -> None:
    project.define('  inner = { trigger = "branch"; jobs.it.command = "ls"; };', "deep/er")
    project.write("deep/er/ci/forge-lanes.toml", "version = 1\n" + LANES.replace("cats", "inner"))
    project.tree.commit()
    lanes = ("--lanes", "branch", "--flake", "deep/er")
    found = planned(project, *lanes, *source_of(project, bare_of(project)))
    (plan,) = found["plans"]
    assert (plan["target_id"], plan["source"]["flake_dir"]) == ("inner", "deep/er")
    for directory in ("deep", "../repo", "/"):
        args = ("cats", "--flake", directory, *source_of(project))
        assert "there is no flake.nix in" in project.here("plan", *args).refused(2)


def test_objects_are_the_state_roots_own(project: Project) -> None:
    path = project.state.with_name("set.json")
    bare = bare_of(project, "--shared")
    done = project.here("plan", "cats", "--set", *source_of(project, bare))
    path.write_text(done.passed().out)
    shutil.rmtree(project.root)
    shutil.rmtree(bare)
    project.run("--plan", str(path))
    assert "then\n" in project.log("it")


def test_few_objects_are_kept_one_by_one_and_many_as_a_pack(project: Project) -> None:
    objects = Repository(project.state).path / "objects"
    with patch.object(commit, "MOST_LOOSE", 5):
        planned(project, "cats", "--set", *source_of(project))
        assert len(list(objects.glob("pack/pack-*.pack"))) == 1
        assert len(list(objects.glob("pack/pack-*.idx"))) == 1
        project.write("file", "now\n")
        project.tree.commit()
        planned(project, "cats", "--set", *source_of(project))
        assert len(list(objects.glob("pack/pack-*.pack"))) == 1
    project.run("cats", *source_of(project))
    assert "now\n" in project.log("it")
    assert not list(objects.parent.glob("pikaci-index-pack-*"))
    argv = ["git", "-C", str(objects.parent), "fsck", "--strict", "--no-dangling"]
    assert subprocess.run(argv, check=True, capture_output=True).stdout == b""


def test_a_commit_that_is_replaced_there_is_the_commit(project: Project) -> None:
    then = head_of(project)
    project.write("file", "now\n")
    now = project.tree.commit()
    project.tree.git("replace", then, now)
    project.tree.git("reset", "-q", "--soft", then)
    project.run("cats", *source_of(project))
    assert "then\n" in project.log("it")


def test_a_repository_of_sha256_is_checked_out(project: Project) -> None:
    shutil.rmtree(project.root / ".git")
    project.tree.git("init", "-q", "--object-format=sha256")
    base = project.tree.commit()
    project.write("file", "now\n")
    project.tree.commit()
    args = ("--lanes", "branch", "--base", base, *source_of(project))
    done = project.here("plan", *args, "--json").passed()
    assert "fetched by " in done.err
    assert done.json["changed_files"] == ["file"]
    assert [plan["target_id"] for plan in done.json["plans"]] == ["cats"]


@pytest.mark.parametrize("what", ["tag", "tree", "none", "above"])
def test_what_a_fetch_refuses_is_refused(project: Project, what: str) -> None:
    rev, repository = head_of(project), project.root
    match what:
        case "tag":
            project.tree.git("tag", "-a", "-m", "x", "v1")
            rev = project.tree.git("rev-parse", "v1").decode().strip()
        case "tree":
            rev = project.tree.git("rev-parse", "HEAD^{tree}").decode().strip()
        case "none":
            rev = "0" * 39 + "1"
        case "above":
            repository = project.root / "ci"
    done = project.here("plan", "cats", "--source", f"git+file://{repository}?rev={rev}")
    done.refused(75 if what == "above" else 2)


def test_a_base_without_common_history_is_refused(project: Project) -> None:
    base = head_of(project)
    project.tree.git("checkout", "-q", "--orphan", "other")
    project.tree.commit()
    args = ("--lanes", "branch", "--base", base, *source_of(project))
    assert "share no history" in project.here("plan", *args).refused(2)
