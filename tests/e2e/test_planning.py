"""`plan`, `--dry-run`, `targets`, `lanes`, `select` and `--changed-since`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from e2e.project import HELLO, Json, Project
from jerichoci.plan.plan import Plan
from jerichoci.plan.validation import adapter
from pikaci.changes import changed_since
from pikaci.schemas import described
from usertree import UserTree

CLOSED = """
  closed.jobs.it = {
    command = "cat ${build "mentioned" "echo > $out"}";
    env.OTHER = build "in-env" "echo > $out";
  };
"""
LANES = """
[[branch.lanes]]
id = "greeting"
title = "Greets"
target = "hello"
paths = ["src/**", "*.md"]
concurrency_group = "linux"

[[branch.lanes]]
id = "always"
target = "always"
"""
WITH_LANES = """
  hello = { trigger = "branch"; jobs.it.command = "true"; };
  always = { trigger = "branch"; jobs.it.command = "true"; };
  free.jobs.it.command = "true";
"""


@pytest.fixture
def laned(tmp_path: Path) -> Project:
    project = Project.committed(tmp_path, WITH_LANES)
    project.lanes(LANES)
    project.write("src/a", "1")
    project.write("doc/a", "1")
    project.tree.commit()
    return project


def plan(project: Project, *args: str) -> Json:
    values: Json = project.here("plan", *args, "--json").passed().json
    return values


def test_a_plan_is_closed_over_what_commands_and_environments_mention(project: Project) -> None:
    project.define(CLOSED)
    values = plan(project, "closed")
    Plan.model_validate(values)
    nodes = {node["id"]: node for node in values["nodes"]}
    prepares = {key: node for key, node in nodes.items() if node["kind"] == "prepare"}
    assert sorted(key.rpartition("-")[0] for key in prepares) == ["in-env", "mentioned"]
    job = nodes["execute-it"]
    assert set(job["depends_on"]) == set(prepares)
    paths = {node["prepare"]["out_path"] for node in prepares.values()}
    assert job["execute"]["command"].removeprefix("cat ") in paths
    assert job["execute"]["env"]["OTHER"] in paths


def test_planning_builds_nothing_leaves_no_run_and_is_what_runs(project: Project) -> None:
    planned = plan(project, "hello")
    text = project.here("plan", "hello").passed().out
    for part in ("Greets", "prepare greeting ", "job     greet", "needs greeting"):
        assert part in text
    drawn = project.here("plan", "hello", "--graph").passed().out
    assert drawn.startswith("flowchart ")
    assert 'n0(["greeting"])' in drawn
    assert 'n1["greet<br/>local, host_process"]' in drawn
    assert "n0 --> n1" in drawn
    assert project.here("run", "hello", "--dry-run").passed().out
    (out_path,) = [
        node["prepare"]["out_path"] for node in planned["nodes"] if node["kind"] == "prepare"
    ]
    assert not Path(out_path).exists()
    assert project.run_ids() == []
    project.run("hello")
    assert plan(project, "hello") == planned


def assert_as_published(name: str, values: object) -> None:
    """The schema of what a command prints has all that it prints, and nothing else."""
    schema = adapter(described()[name])
    assert schema.dump_python(schema.validate_python(values), mode="json") == values


def test_targets_are_listed_without_building_anything(project: Project) -> None:
    project.define(HELLO + '  broken.jobs.it.command = throw "never looked at";')
    text = project.here("targets").passed().out
    assert text.splitlines()[0].split() == ["TARGET", "TRIGGER", "JOBS", "WHAT"]
    assert {line.split()[0] for line in text.splitlines()[1:]} == {"hello", "broken"}
    rows = project.here("targets", "--json").passed().json
    assert {row["id"] for row in rows} == {"hello", "broken"}
    assert_as_published("targets", rows)


def test_lanes_are_listed(laned: Project) -> None:
    text = laned.here("lanes").passed().out
    assert "greeting" in text
    assert "src/** *.md" in text
    (greeting, always) = laned.here("lanes", "--json").passed().json
    assert_as_published("lanes", [greeting, always])
    assert (greeting["target"], greeting["title"]) == ("hello", "Greets")
    assert greeting["concurrency_group"] == "linux"
    assert always["paths"] == []


@pytest.mark.parametrize("command", [("run", "hello"), ("targets",)])
def test_lanes_that_git_ignores_are_refused_until_they_are_added(
    project: Project, command: tuple[str, ...]
) -> None:
    project.define(HELLO.replace("description", 'trigger = "branch"; description'))
    project.lanes('[[branch.lanes]]\nid = "l"\ntarget = "hello"\n')
    project.write(".gitignore", "/ci/\n")
    sentence = project.here(*command).refused()
    assert sentence.endswith(
        "git ignores ci/forge-lanes.toml, so it is not in the snapshot;"
        " run `git add -f ci/forge-lanes.toml`"
    )
    assert "`git add -f` it" in project.here("select", "--base=HEAD", "--head=HEAD").refused()
    project.tree.git("add", "-f", "ci/forge-lanes.toml")
    project.here(*command).passed()


def test_a_change_selects_lanes_and_says_which_file_and_glob_did(laned: Project) -> None:
    laned.write("src/a", "2")
    laned.tree.commit()
    laned.write("doc/a", "2")
    laned.tree.commit()

    def select(base: str, head: str) -> dict[str, Json]:
        args = ("select", "--base", base, "--head", head, "--json")
        values = laned.here(*args).passed().json
        assert_as_published("select", values)
        return {lane["id"]: lane for lane in values["lanes"]}

    text = laned.here("select", "--base", "HEAD~2", "--head", "HEAD~1").passed().out
    assert "src/a" in text
    assert "src/**" in text
    assert [lane["selected"] for lane in select("HEAD~2", "HEAD~1").values()] == [True, True]
    elsewhere = select("HEAD~1", "HEAD")
    assert elsewhere["always"]["selected"] is True
    assert elsewhere["greeting"]["selected"] is False
    assert elsewhere["greeting"]["reason"]


def test_lanes_of_another_commit_are_asked_about_a_change_in_a_bare_repository(
    laned: Project, tmp_path: Path
) -> None:
    laned.write("src/a", "2")
    laned.lanes("")
    laned.tree.commit()
    laned.tree.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare"))
    repository = ("--repository", str(tmp_path / "bare"))
    args = ("select", *repository, "--base=HEAD~1", "--head=HEAD", "--json")
    outside = laned.at(tmp_path)
    assert outside.here(*args).passed().json["lanes"] == []
    values = outside.here(*args, "--lanes-of=HEAD~1").passed().json
    assert {lane["id"]: lane["selected"] for lane in values["lanes"]} == {
        "always": True,
        "greeting": True,
    }


def test_a_caller_who_says_what_changed_skips_what_it_does_not_concern(laned: Project) -> None:
    for file, target, status in (
        (None, "hello", "skipped"),
        ("src/a", "hello", "passed"),
        ("doc/a", "hello", "skipped"),
        ("doc/a", "always", "passed"),
        ("doc/a", "free", "passed"),
        ("README.md", "hello", "passed"),
    ):
        laned.tree.git("reset", "--quiet", "--hard")
        if file:
            laned.write(file, "2")
        record = laned.run(target, "--changed-since", "HEAD")
        assert record["status"] == status, (file, target)
        assert record["changed_files"] == ([file] if file else [])
        if status == "skipped":
            assert "greeting" in record["message"]
            assert record["filters"] == ["src/**", "*.md"]
            assert record["jobs"][0]["status"] == "skipped"


def changed(project: Project) -> tuple[str, ...]:
    """What a run would compare with lanes' globs."""
    with project.inside():
        return asyncio.run(changed_since(project.root, "HEAD")).paths


@pytest.fixture
def module(laned: Project, tmp_path: Path) -> UserTree:
    """A submodule of the project."""
    module = UserTree(tmp_path / "module").init()
    module.write("file", "1")
    module.commit()
    laned.tree.git("submodule", "--quiet", "add", module.root.as_uri(), "src/module")
    laned.tree.commit()
    return UserTree(laned.root / "src/module")


def test_a_submodule_that_git_ignores_is_no_reason_to_skip(
    laned: Project, module: UserTree
) -> None:
    laned.tree.git("config", "-f", ".gitmodules", "submodule.src/module.ignore", "all")
    laned.tree.commit()
    assert changed(laned) == ()
    module.git("commit", "-q", "--allow-empty", "-m", "bump")
    record = laned.run("hello", "--changed-since", "HEAD")
    assert record["status"] == "passed"
    assert record["changed_files"] == ["src/module", "src/module/"]


def test_a_file_that_git_overlooks_is_no_reason_to_skip(laned: Project) -> None:
    laned.tree.git("update-index", "--assume-unchanged", "src/a")
    laned.write("src/a", "edited")
    assert changed(laned) == ("src/a",)
    record = laned.run("hello")  # which says nothing of changes
    assert (record["status"], record["changed_files"]) == ("passed", [])


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_removed_file_that_git_overlooks_is_no_reason_to_skip(laned: Project, flag: str) -> None:
    laned.tree.git("update-index", flag, "src/a")
    laned.path("src/a").unlink()
    assert changed(laned) == ("src/a",)


def test_in_a_sparse_checkout_what_is_left_out_is_no_reason_to_run(laned: Project) -> None:
    laned.write("src/b", "1")
    laned.tree.commit()
    laned.tree.git("sparse-checkout", "set", "--no-cone", "/*", "!/src/a")
    assert changed(laned) == ()
    laned.tree.git("update-index", "--assume-unchanged", "src/b")
    laned.path("src/b").unlink()
    assert changed(laned) == ("src/b",)


def test_what_git_overlooks_in_a_submodule_is_no_reason_to_skip(
    laned: Project, module: UserTree
) -> None:
    module.git("update-index", "--assume-unchanged", "file")
    assert changed(laned) == ()
    module.write("file", "2")
    assert changed(laned) == ("src/module", "src/module/")


def test_a_revision_that_is_not_there_is_refused(laned: Project) -> None:
    sentence = laned.here("run", "hello", "--changed-since", "nowhere").refused(2)
    assert "nowhere" in sentence
    assert laned.run_ids() == []
