"""`plan` of several targets, or of the lanes of a change, and `run --plan` of one of them."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from e2e.project import HELLO, Project
from jerichoci.plan.plan import Plan
from jerichoci.plan.validation import adapter
from jerichoci.snapshot.repository import Repository
from pikaci.schemas import described

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Json

BROKEN = """
  thrown.jobs.it.command = throw "no such thing";
  typed.jobs.it.command = 1 + "a";
"""
LANED = HELLO.replace("description", 'trigger = "branch"; description')
CATS = """
  cats = { trigger = "branch"; jobs.it.command = "cat file"; };
  lean = { trigger = "nightly"; snapshot.exclude = [ "assets/**" ]; jobs.it.command = "ls"; };
"""
LANES = """
nightly_schedule_utc = "02:30"
[[branch.lanes]]
id = "greeting"
target = "hello"
[[branch.lanes]]
id = "files"
target = "cats"
paths = ["file"]
concurrency_group = "linux"
[[nightly.lanes]]
id = "lean"
target = "lean"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.below(tmp_path)
    project.define(LANED + CATS)
    project.lanes(LANES)
    project.write("file", "then\n")
    project.tree.init()
    project.tree.commit()
    return project


def planned(project: Project, *args: str) -> Json:
    """A plan set."""
    found: Json = project.here("plan", *args, "--json").passed().json
    return found


def kept(project: Project, *args: str) -> str:
    """The file of a plan set."""
    path = project.state.with_name("set.json")
    path.write_text(project.here("plan", *args, "--set").passed().out)
    return str(path)


def targets(found: Json) -> list[str]:
    return [plan["target_id"] for plan in found["plans"]]


def selected(found: Json) -> list[str]:
    return [lane["id"] for lane in found["lanes"] if lane["selected"]]


def test_a_set_has_the_plan_of_each_target(project: Project) -> None:
    found = planned(project, "hello", "cats")
    assert targets(found) == ["hello", "cats"]
    for plan in found["plans"]:
        alone = project.here("plan", plan["target_id"], "--json").passed().json
        assert plan["plan"] == alone
        assert plan["error"] is None
    assert (found["base"], found["head"], found["lanes"]) == (None, None, [])


def test_a_set_is_as_published(project: Project) -> None:
    project.define(LANED + CATS + BROKEN)
    schema = adapter(described()["plan-set"])
    for args in (("hello", "thrown"), ("--lanes", "branch")):
        found = planned(project, *args)
        dumped = schema.dump_python(schema.validate_python(found), mode="json")
        for row in dumped["plans"]:
            if row["plan"]:  # which has no key of what no job uses
                row["plan"] = Plan.model_validate(row["plan"]).dump()
        assert dumped == found


def test_one_evaluation_is_for_all_targets(project: Project, tmp_path: Path) -> None:
    counting = project.shimmed("nix", f'echo >> {tmp_path}/count; exec "$real" "$@"', of="eval")
    assert len(planned(counting, "hello", "cats", "lean")["plans"]) == 3
    assert (tmp_path / "count").read_text() == "\n"


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ("thrown", "no such thing"),
        ("typed", "cannot add"),
        ("helo", "there is no target 'helo'"),
    ],
)
def test_a_target_without_a_plan_has_an_error_and_takes_no_other_with_it(
    project: Project, broken: str, what: str
) -> None:
    project.define(LANED + CATS + BROKEN)
    hello, failed, cats = planned(project, "hello", broken, "cats")["plans"]
    assert hello["plan"]
    assert cats["plan"]
    assert (failed["plan"], failed["plan_digest"], failed["source"]) == (None, None, None)
    assert what in failed["error"]["message"]
    assert failed["error"]["exit_code"] == 2
    (alone,) = planned(project, broken, broken, "--set")["plans"]
    assert alone["error"] == failed["error"]


@pytest.mark.parametrize(
    ("break_it", "what"),
    [
        (lambda project: project.write("flake.nix", "{ outputs = "), "does not evaluate"),
        (lambda project: project.write("targets.nix", "_: 1"), "targets"),
        (lambda project: project.write("flake.nix", "{ outputs = _: { }; }"), "no output `pikaci`"),
        (lambda project: project.lanes("[[branch.lane]]"), "branch.lane: unknown key"),
        (lambda project: project.lanes(LANES.replace("hello", "gone")), "gone"),
    ],
    ids=["syntax", "targets", "output", "key", "lane"],
)
def test_a_broken_catalog_is_one_sentence(project: Project, break_it: Any, what: str) -> None:  # noqa: ANN401 - a function
    break_it(project)
    for args in (("hello", "cats", "--json"), ("--lanes", "branch"), ("hello", "--set")):
        assert what in project.here("plan", *args).refused(2)


def test_a_nix_that_does_not_work_is_the_machines_failure(project: Project) -> None:
    away = project.with_env(NIX_REMOTE="unix:///nowhere/socket")
    assert "Nix can't work" in away.here("plan", "hello", "cats", "--json").refused(75)


def test_a_run_of_a_plan_evaluates_nothing_and_has_the_files_of_then(project: Project) -> None:
    file = kept(project, "cats", "hello")
    plans = json.loads(project.state.with_name("set.json").read_text())["plans"]
    project.write("file", "now\n")
    project.define("broken")
    unable = project.shimmed("nix", "exit 1", of="eval")
    record = unable.run("--plan", file, "cats")
    assert "then" in project.log("it")
    (plan,) = (plan for plan in plans if plan["target_id"] == "cats")
    assert record["plan_digest"] == plan["plan_digest"]
    assert record["snapshot_id"] == plan["source"]["snapshot_id"]
    assert unable.run("--plan", file, "hello")["status"] == "passed"


def test_the_one_plan_of_a_set_needs_no_name(project: Project) -> None:
    assert project.run("--plan", kept(project, "lean"))["target_id"] == "lean"


def test_a_plan_has_the_tree_without_what_it_excludes(project: Project) -> None:
    project.write("assets/large")
    cats, lean = planned(project, "cats", "lean")["plans"]
    assert cats["source"]["tree"] == lean["source"]["tree"] == cats["source"]["snapshot_id"]
    assert lean["source"]["snapshot_id"] != lean["source"]["tree"]
    project.run("--plan", kept(project, "cats", "lean"), "lean")
    assert "assets" not in project.log("it")


def test_a_plan_whose_derivation_is_gone_is_refused(project: Project) -> None:
    file = kept(project, "hello")
    (plan,) = json.loads(project.state.with_name("set.json").read_text())["plans"]
    (node,) = (node for node in plan["plan"]["nodes"] if node["kind"] == "prepare")
    drv = node["prepare"]["drv_path"]
    subprocess.run(["nix-store", "--delete", drv], check=True, capture_output=True, timeout=60)
    sentence = project.here("run", "--plan", file).refused(75)
    assert f"{drv} of {file} is not in the Nix store; plan again" in sentence
    assert project.run_ids() == []


def test_a_plan_whose_snapshot_is_gone_is_refused(project: Project, tmp_path: Path) -> None:
    file = kept(project, "cats")
    (plan,) = json.loads(project.state.with_name("set.json").read_text())["plans"]
    tree = plan["source"]["tree"]
    elsewhere = project.here("run", "--plan", file, "--state-root", str(tmp_path / "other"))
    assert f"the snapshot {tree} of {file} is not in {tmp_path}/other" in elsewhere.refused(75)
    (Repository(project.state).path / f"refs/pikaci/{tree}").unlink()
    assert f"the snapshot {tree} of" in project.here("run", "--plan", file).refused(75)
    assert project.run_ids() == []


SOURCE = {"tree": "../../etc", "snapshot_id": "0" * 40}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not a plan set"),
        ('{"plans": {"a": 1}}', "is not a plan set"),
        ('{"plans": [], "schema_version": 2}', "is of schema version 2"),
        ('{"plans": [], "schema_version": 1}', "has no plan"),
        ('{"plans": [{"target_id": "a"}], "schema_version": 1}', "is not a plan"),
        ({"source": None}, "is not a plan set: source"),
        ({"source": SOURCE}, "is not a plan set: source: tree"),
        ({"plan": {"nodes": 1}}, "is not a plan"),
        ({"error": {"message": "it broke", "hint": None, "exit_code": 2}}, "no plan: it broke"),
    ],
)
def test_what_is_no_plan_set_is_refused(
    project: Project, tmp_path: Path, text: str | Json, what: str
) -> None:
    path = tmp_path / "file"
    if isinstance(text, dict):
        found = planned(project, "cats", "--set")
        found["plans"][0] |= text
        text = json.dumps(found)
    path.write_text(text)
    assert what in project.here("run", "--plan", str(path)).refused(2)


def test_a_plan_is_chosen_by_its_target(project: Project) -> None:
    file = kept(project, "cats", "hello")
    assert "has several plans; name one of cats, hello" in project.here(
        "run", "--plan", file
    ).refused(2)
    assert "has no plan of target lean; it has cats, hello" in project.here(
        "run", "--plan", file, "lean"
    ).refused(2)
    assert "can't be read" in project.here("run", "--plan", "/no/such/file").refused(2)


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (("plan",), "name targets, or lanes"),
        (("plan", "hello", "--lanes", "branch"), "name targets, or lanes"),
        (("plan", "hello", "--base", "HEAD"), "--base is for --lanes branch"),
        (("plan", "--lanes", "nightly", "--base", "HEAD"), "--base is for --lanes branch"),
        (("plan", "hello", "cats", "--graph"), "--graph is for one target"),
        (("plan", "--lane", "gone"), "has no lane 'gone'"),
        (("plan", "hello", "../x", "--json"), "'../x'"),
        (("run", "--plan", "x", "--system", "x86_64-linux"), "--plan has its source, system"),
        (("run", "hello", "--changed-since", "HEAD", "--source", "git+file:///x"), "working tree"),
    ],
)
def test_what_contradicts_itself_is_refused(
    project: Project, args: tuple[str, ...], what: str
) -> None:
    assert what in project.here(*args).refused(2)


def test_branch_lanes_are_those_that_the_change_selects(project: Project) -> None:
    base = project.tree.git("rev-parse", "HEAD").decode().strip()
    project.write("other")
    head = project.tree.commit()
    found = planned(project, "--lanes", "branch", "--base", base)
    assert (found["base"], found["head"], found["changed_files"]) == (base, head, ["other"])
    assert selected(found) == ["greeting"]
    assert targets(found) == ["hello"]
    assert found["nightly_schedule_utc"] == "02:30"
    project.write("file", "now\n")
    found = planned(project, "--lanes", "branch", "--base", base)
    assert selected(found) == ["greeting", "files"]
    assert found["lanes"][1]["concurrency_group"] == "linux"


def test_without_a_base_any_file_may_have_changed(project: Project) -> None:
    project.path("file").unlink()
    found = planned(project, "--lanes", "branch")
    assert (found["base"], found["changed_files"]) == (None, [])
    assert selected(found) == ["greeting", "files"]
    assert found["lanes"][1]["reason"] == "any file may have changed"


def test_nightly_lanes_are_all_and_named_ones_are_those(project: Project) -> None:
    assert selected(planned(project, "--lanes", "nightly")) == ["lean"]
    assert selected(planned(project, "--lane", "lean", "--lane", "files")) == ["files", "lean"]


def test_lanes_without_a_file_are_refused(project: Project) -> None:
    project.path("ci/forge-lanes.toml").unlink()
    assert "there is no " in project.here("plan", "--lanes", "branch").refused(2)


def test_a_set_is_shown_to_people_with_its_lanes(project: Project) -> None:
    project.define(LANED + CATS + BROKEN)
    shown = project.here("plan", "--lanes", "branch").passed().out
    assert shown.startswith("2 of 3 lanes selected (")
    assert "hello on " in shown
    assert "cats on " in shown
    done = project.here("plan", "hello", "thrown", "cats")
    assert done.code == 2
    assert "hello on " in done.out
    assert "cats on " in done.out
    assert done.err.startswith("pikaci: thrown: ")
