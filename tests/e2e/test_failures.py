"""`pikaci failures`: the cause before the log, of jobs and prepares, for people and programs."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from e2e.project import Project
from jerichoci.plan.validation import adapter
from pikaci.schemas import described
from records import change

Json = dict[str, Any]
TARGETS = """
  good.jobs.it.command = "true";
  tested.jobs = {
    unit.command = ''
      printf 'error: early\\n'; seq 500
      printf '\\033[31mFAILED\\033[0m \\033]0;x\\007test_a\\n'; seq 9; exit 3
    '';
    deploy = { needs = [ "unit" ]; command = "true"; };
  };
  prepared = {
    prepare.made.hostCommand = { command = "echo boom; exit 1"; outputs = [ "y" ]; };
    jobs.a = { needs = [ "made" ]; command = "true"; };
    jobs.b = { needs = [ "made" ]; command = "true"; };
  };
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.committed(tmp_path_factory.mktemp("project"), TARGETS)
    assert project.here("run", "tested", "prepared", "good").code == 1
    return project


def failures(project: Project, run: str = "latest") -> list[Json]:
    """The runs in `failures --json`, which is as its schema says."""
    found: Json = project.here("failures", run, "--json").passed().json
    adapter(described()["failures"]).validate_python(found)
    rows: list[Json] = found["runs"]
    return rows


def test_a_failed_job_is_told_with_its_cause_and_the_lines_that_name_an_error(
    project: Project,
) -> None:
    tested, _, good = failures(project)
    (unit,) = tested["failures"]
    assert (unit["kind"], unit["id"], unit["failure_kind"]) == ("job", "unit", "test_failure")
    assert (unit["cause"]["phase"], unit["exit_code"]) == ("wait_for_completion", 3)
    assert unit["message"] == "job unit exited with 3"
    log = unit["log"]
    assert log["total"] == 511
    lines = {line["number"]: line["text"] for line in log["lines"]}
    assert (lines[1], lines[502], lines[511]) == ("error: early", "FAILED test_a", "9")
    assert 499 not in lines
    printed = project.here(*shlex.split(unit["command"])[1:]).passed().out.splitlines()
    assert printed[502 - 1].endswith("test_a")
    assert tested["not_run"] == [{"id": "deploy", "message": "depends on unit, which failed"}]
    assert (good["status"], good["failures"]) == ("passed", [])


def test_a_failed_prepare_is_told_once_with_the_jobs_that_need_it(project: Project) -> None:
    _, prepared, _ = failures(project)
    (made,) = prepared["failures"]
    assert (made["kind"], made["id"], made["jobs"]) == ("prepare", "made", ["a", "b"])
    assert made["failure_kind"] == "test_failure"
    assert made["log"] == {"total": 1, "lines": [{"number": 1, "text": "boom"}]}
    assert "made> boom" in project.here(*shlex.split(made["command"])[1:]).passed().out


def test_people_read_the_cause_before_the_log(project: Project) -> None:
    out = project.here("failures", "latest").passed().out
    order = (
        *("of tested: failed (test_failure)", "job unit failed: exited with 3"),
        *("exit code 3", "error: early", "FAILED test_a", "more: pikaci logs"),
        *("job deploy was skipped: depends on unit", "prepare made failed", "needed by a, b"),
        *("of good: passed", "nothing failed"),
    )
    places = [out.index(part) for part in order]
    assert places == sorted(places)
    assert "\033" not in out


def test_a_run_that_failed_without_a_failed_job_says_why(project: Project) -> None:
    run_id = project.run("good")["run_id"]
    change(project.run_dir(run_id) / "run.json", status="running", jobs=[])
    (run,) = failures(project, run_id)
    assert [(row["kind"], row["cause"]["code"]) for row in run["failures"]] == [
        ("run", "owner_died")
    ]


def test_a_run_that_cant_be_read_is_a_sentence_of_its_own(project: Project) -> None:
    run_id = project.run("good")["run_id"]
    (project.run_dir(run_id) / "run.json").write_text("{")
    (run,) = failures(project, run_id)
    assert "is not JSON" in run["unreadable"]
    assert "can't be read: " in project.here("failures", run_id).passed().out
    (project.run_dir(run_id) / "plan.json").write_text("{")
    assert failures(project, run_id) == [run]
