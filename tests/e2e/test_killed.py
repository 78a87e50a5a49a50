"""The orchestrator is killed outright at many points of a run: nothing of it stays.

A job's children that left by `setsid` are part of it, and so are builders.
"""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, processes, shim, wait_for

if TYPE_CHECKING:
    from pathlib import Path

GONE_DEADLINE_SECS = 10.0
"""For the kernel and Nix to take down what the orchestrator had started."""
EVENTS = (1, 2, 3, 4, 5, 7, 9, 11, 13, 15, 18, 22, 26, 30, 34)
"""After how many lines of events.jsonl to kill; a whole run has 36."""
DELAYS = (0.05, 0.15, 0.2, 0.25, 0.3, 0.4)
"""Seconds after the start: before, while and after the run directory is made."""

TARGETS = """
  slow = {
    prepare.dep.drv = build "dep" ''
      : @marker@; i=0
      while [ $i -lt 200000 ]; do i=$((i + 1)); done
      echo built > $out
    '';
    jobs = {
      a = { needs = [ "dep" ]; command = "@child@ & exec -a @marker@ sleep 0.5"; };
      b.command = "@child@ & echo b > $PIKACI_ARTIFACTS/b; exec -a @marker@ sleep 0.8";
    };
  };
"""


@pytest.fixture
def project(project: Project) -> Project:
    child = "setsid bash -c 'exec -a @marker@ sleep 60'"
    text = TARGETS.replace("@child@", child).replace("@marker@", marker(project))
    project.define(text)
    return project


def marker(project: Project) -> str:
    return f"marker-{project.token}"


@pytest.mark.parametrize("count", EVENTS)
def test_a_run_killed_after_some_events_is_closed_and_leaves_nothing(
    project: Project, count: int
) -> None:
    running = project.start("run", "slow")
    wait_for(lambda: lines_written(project) >= count or running.poll() is not None)
    running.kill()
    finish(running)
    assert_all_is_well_again(project, "run" if count % 2 else "reap")


@pytest.mark.parametrize("delay", DELAYS)
def test_a_run_killed_while_it_starts_leaves_nothing(project: Project, delay: float) -> None:
    running = project.start("run", "slow")
    time.sleep(delay)
    running.kill()
    finish(running)
    assert_all_is_well_again(project, "reap")


def test_a_run_killed_again_and_again_leaves_nothing(project: Project) -> None:
    for _ in range(3):
        before = len(project.run_ids())
        running = project.start("run", "slow")
        wait_for(partial(has_more_runs, project, before))
        running.kill()
        finish(running)
    assert_all_is_well_again(project, "reap")
    assert {project.record(run_id)["status"] for run_id in project.run_ids()[:3]} == {"failed"}


def test_the_jobs_of_a_killed_run_end_without_anybody_looking(project: Project) -> None:
    running = project.start("run", "slow")
    wait_for(lambda: len(processes(marker(project))) > 1)
    running.kill()
    finish(running)
    wait_for(lambda: not processes(marker(project)), GONE_DEADLINE_SECS)


def has_more_runs(project: Project, than: int) -> bool:
    return len(project.run_ids()) > than


def lines_written(project: Project) -> int:
    return len(project.events()) if project.run_ids() else 0


def assert_all_is_well_again(project: Project, closing: str) -> None:
    wait_for(lambda: not processes(marker(project)), GONE_DEADLINE_SECS)
    assert_every_record_parses(project.state)
    killed = project.run_ids()
    shown = project.pikaci("list", "--json").passed().json
    if closing == "reap":
        project.pikaci("reap").passed()
        assert_all_closed(project, killed)
    record = project.run("slow")
    assert record["status"] == "passed"
    assert_all_closed(project, killed)
    for row in shown:
        assert project.record(row["run_id"])["status"] == row["status"]
    project.pikaci("reap").passed()
    left = [path.name for path in (project.state / "runs").iterdir()]
    assert sorted(left) == sorted([*killed, record["run_id"]])
    assert not list(project.state.glob("runs/**/*.tmp-*"))
    assert processes(marker(project)) == []


def assert_every_record_parses(state: Path) -> None:
    for path in state.glob("runs/**/*.json"):
        json.loads(path.read_bytes())
    for path in state.glob("runs/*/events.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            json.loads(line)


def assert_all_closed(project: Project, run_ids: list[str]) -> None:
    for run_id in run_ids:
        assert_closed(project, run_id)


def assert_closed(project: Project, run_id: str) -> None:
    record, run = project.record(run_id), project.run_dir(run_id)
    assert record["finished_at"]
    if record["status"] != "passed":
        assert (record["status"], record["failure_kind"]) == ("failed", "infrastructure")
        assert record["cause"]["code"] == "owner_died"
        assert record["message"]
    assert {job["status"] for job in record["jobs"]} <= {"passed", "failed", "skipped"}
    events = project.events(run_id)
    assert (run / "events.jsonl").read_bytes().endswith(b"\n")
    assert events[-1]["event"] == "run_finished"
    assert events[-1]["run"] == record
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert not (run / "scratch").exists()
    assert not (run / "reserve").exists()


def test_without_namespaces_whoever_looks_next_ends_the_jobs_group(project: Project) -> None:
    project.define(
        f"  group.jobs.it.command = \"bash -c 'exec -a {marker(project)} sleep 60' & sleep 60\";"
    )
    path = shim(project.state.with_name("shims"), "unshare", "exit 1")
    running = project.with_env(PATH=path).start("run", "group")
    wait_for(lambda: any(" sleep " not in line for line in processes(marker(project))))
    running.kill()
    finish(running)
    project.pikaci("reap").passed()
    wait_for(lambda: not processes(marker(project)), GONE_DEADLINE_SECS)
    assert_closed(project, project.run_ids()[0])
