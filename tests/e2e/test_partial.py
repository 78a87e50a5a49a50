"""Runs of some of a target's jobs: said to be partial, and only those are run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.plan.validation import adapter
from pikaci.schemas import described

if TYPE_CHECKING:
    from e2e.project import Done, Json, Project

TWO = """
  two = {
    jobs.a.command = "true";
    jobs.b.command = "false";
  };
"""
CHAIN = """
  chain = {
    prepare.dep.drv = build "dep" "echo dep > $out";
    jobs.first = { needs = [ "dep" ]; command = "true"; };
    jobs.second = { needs = [ "first" ]; command = "test -e fixed"; };
    jobs.third = { needs = [ "second" ]; command = "true"; };
    jobs.apart.command = "false";
  };
"""


def statuses(record: Json) -> dict[str, str]:
    return {job["id"]: job["status"] for job in record["jobs"]}


def assert_partial(project: Project, done: Done) -> None:
    """Each place says so."""
    assert "partial" in done.err
    assert project.record()["partial"] is True
    assert "partial" in project.here("list").passed().out.splitlines()[1]
    assert "partial" in project.here("status", "latest").passed().out
    rows = project.here("list", "--json").passed().json
    assert rows[0]["partial"] is True
    listed = adapter(described()["list"])
    assert listed.dump_python(listed.validate_python(rows), mode="json") == rows


def test_a_run_of_one_job_of_two_is_partial(project: Project) -> None:
    project.define(TWO)
    whole = project.here("run", "two", "--job", "a", "--job", "b")
    assert whole.code == 1
    assert "partial" not in whole.err + project.here("list").out
    assert project.record()["partial"] is False
    assert_partial(project, project.here("run", "two", "--job", "b"))
    done = project.here("run", "two", "--job", "a").passed()
    assert_partial(project, done)
    assert statuses(project.record()) == {"a": "passed", "b": "skipped"}
    assert "passed" in project.here("rerun", "latest", "--failed").refused(2)
    assert_partial(project, project.here("rerun", "latest").passed())
    assert statuses(project.record()) == {"a": "passed", "b": "skipped"}


def test_jobs_that_another_one_needs_are_asked_for(project: Project) -> None:
    project.define(CHAIN.replace("jobs.apart", "# "))
    project.write("fixed")
    assert not project.run("chain", "--job", "third")["partial"]


def test_only_what_failed_and_what_was_skipped_for_it_runs_again(project: Project) -> None:
    project.define(CHAIN)
    assert project.here("run", "chain", "--job", "third").code == 1
    project.write("fixed")
    done = project.here("rerun", "latest", "--failed")
    assert done.code == 1
    assert_partial(project, done)
    assert statuses(project.record()) == {
        "first": "passed",
        "second": "failed",
        "third": "skipped",
        "apart": "skipped",
    }
    # A job that it needs has to run again, and is named.
    assert "also rerunning first: " in done.err


def test_a_run_that_filters_skip_has_no_failures(project: Project) -> None:
    project.define('  two = { title = "two"; trigger = "branch"; jobs.a.command = "true"; };')
    project.lanes('[[branch.lanes]]\nid = "l"\ntitle = "l"\ntarget = "two"\npaths = ["x/**"]\n')
    project.write("y")
    project.tree.commit()
    record = project.run("two", "--changed-since", "HEAD")
    assert (record["status"], record["partial"]) == ("skipped", False)
    assert record["cause"]["code"] == "filtered"
    assert record["cause"]["message"] == record["message"]
    project.here("rerun", "latest", "--failed").refused(2)
    shown = project.here("run", "two", "--dry-run", "--changed-since", "HEAD").passed()
    assert "target two would be skipped by" in shown.err
    assert len(project.run_ids()) == 1


def test_a_dry_run_shows_the_jobs_that_are_asked_for(project: Project) -> None:
    project.define(CHAIN)
    whole = project.here("run", "chain", "--dry-run").passed().out
    shown = project.here("run", "chain", "--dry-run", "--job", "second").passed().out
    kinds = [line.split()[:2] for line in shown.splitlines() if line.startswith(("job", "prep"))]
    assert [kind for kind, _ in kinds] == ["prepare", "job", "job"]
    assert [name for _, name in kinds[1:]] == ["first", "second"]
    assert "apart" in whole
    assert whole.splitlines()[1] == shown.splitlines()[1]
    options = ("--dry-run", "--job", "apart", "--output", "json")
    nodes = project.here("run", "chain", *options).passed().json["nodes"]
    assert [node["id"] for node in nodes] == ["execute-apart"]
    assert "no job 'zzz'" in project.here("run", "chain", "--dry-run", "--job", "zzz").refused(2)
    assert project.run_ids() == []
