"""`pikaci run --failed`: what failed last, on the tree as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.project import Project

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = """
  all.jobs = {
    good.command = "true";
    bad.command = "test -e fixed";
    after = { needs = [ "bad" ]; command = "true"; };
    worse.command = "test -e repaired";
  };
  one.jobs.it.command = "test -e fixed";
  other.jobs.it.command = "true";
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.committed(tmp_path, TARGETS)


def ran(project: Project, run_id: str = "latest") -> dict[str, str]:
    """The jobs that a run did not leave out, and their ends."""
    return {
        job["id"]: job["status"]
        for job in project.record(run_id)["jobs"]
        if (job["cause"] or {}).get("code") != "not_selected"
    }


def test_what_failed_last_runs_on_the_tree_as_it_is_now(project: Project) -> None:
    done = project.here("run", "all")
    assert done.code == 1
    run_id = project.run_ids()[-1]
    now, then = done.err.splitlines()[-2:]
    assert now.endswith("pikaci run all --failed")
    assert then.endswith(f"pikaci rerun {run_id} --failed")

    project.write("fixed")
    assert project.here("run", "all", "--failed").code == 1
    assert ran(project) == {"bad": "passed", "after": "passed", "worse": "failed"}
    assert project.record()["rerun_of"] is None

    project.here("run", "all", "--job", "good").passed()
    project.write("repaired")
    project.here("run", "--failed", "all").passed()
    assert ran(project) == {"worse": "passed"}

    runs = project.run_ids()
    done = project.here("run", "all", "--failed").passed()
    assert "no job failed last" in done.refused(0)
    assert project.run_ids() == runs


def test_without_a_target_it_is_what_failed_in_the_last_run_or_batch(project: Project) -> None:
    assert project.here("run", "all", "one", "other").code == 1
    project.write("fixed")
    assert project.here("run", "--failed").code == 1
    assert [project.record(run)["target_id"] for run in project.run_ids()[3:]] == ["all", "one"]
    assert ran(project, project.run_ids()[4]) == {"it": "passed"}
    assert project.here("run", "--failed").code == 1
    assert ran(project) == {"worse": "failed"}
    project.run("other")
    assert "no job failed last" in project.here("run", "--failed").refused(0)
    assert project.here("run", "--failed", "--all").code == 1
    assert ran(project) == {"worse": "failed"}


def test_jobs_that_are_gone_are_named(project: Project) -> None:
    project.here("run", "all")
    project.define('  all.jobs.new.command = "true";')
    assert "all has no job worse now" in project.here("run", "all", "--failed").refused()
    project.define('  all.jobs.bad.command = "true";')
    done = project.here("run", "all", "--failed").passed()
    assert "all has no job after now" in done.err
    assert "all has no job worse now" in done.err
    assert ran(project) == {"bad": "passed"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no run is over yet"),
        (("one",), "no run of target one is over"),
        (("one", "--job", "it"), "--job or --failed"),
        (("one", "--plan", "set.json"), "working tree"),
        (("--lanes", "--base", "HEAD", "--head", "HEAD"), "working tree"),
    ],
)
def test_what_can_not_be_meant_is_refused(
    project: Project, arguments: tuple[str, ...], said: str
) -> None:
    assert said in project.here("run", "--failed", *arguments).refused()
    assert project.run_ids() == []


def test_what_is_running_does_not_count(project: Project) -> None:
    project.here("run", "one")
    first = project.run_ids()[-1]
    project.define(TARGETS.replace('"test -e fixed"', '"exec -a @marker@ sleep 60"'))
    running = project.start("run", "one")
    try:
        while len(project.run_ids()) == 1:
            assert running.poll() is None
        project.define(TARGETS)
        assert project.here("run", "one", "--failed").code == 1
        assert project.record(first)["status"] == "failed"
        assert ran(project) == {"it": "failed"}
    finally:
        running.terminate()
        running.communicate()
