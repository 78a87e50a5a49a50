"""The orchestrator is killed outright at many points of a run: nothing of it stays.

A job's children that left by `setsid` are part of it, and so are builders.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, processes, wait_for

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

GONE_DEADLINE_SECS = 10.0
"""For the kernel and Nix to take down what the orchestrator had started."""
EVENTS = (1, 2, 3, 4, 5, 7, 9, 11, 13, 15, 18, 22, 26, 30, 34)
"""After how many lines of events.jsonl to kill; a whole run has 36."""
DELAYS = (0.05, 0.15, 0.2, 0.25, 0.3, 0.4)
"""Seconds after the start: before, while and after the run directory is made."""

TARGETS = """
  slow = {
    prepare.dep.drv = build "dep-@round@" ''
      : @marker@; sleep 0.3; echo built > $out
    '';
    jobs = {
      a = { needs = [ "dep" ]; command = "@child@ & exec -a @marker@ sleep 0.5"; };
      b.command = "@child@ & echo b > $PIKACI_ARTIFACTS/b; exec -a @marker@ sleep 0.8";
    };
  };
""".replace("@child@", "setsid bash -c 'exec -a @marker@ sleep 60'")


def define(project: Project, number: int = 0) -> None:
    """A run whose build is one that was not made before."""
    project.define(TARGETS.replace("@round@", str(number)))


def kill(running: subprocess.Popen[bytes]) -> None:
    running.kill()
    finish(running)


def kill_after(project: Project, moment: float) -> None:
    """Kill a run after so many events, or fractions of a second."""
    before = project.run_ids()
    running = project.start("run", "slow")
    if moment < 1:
        time.sleep(moment)
    else:
        wait_for(
            lambda: (
                (project.run_ids() != before and len(project.events()) >= moment)
                or running.poll() is not None
            )
        )
    kill(running)


@pytest.mark.parametrize("moments", [EVENTS, DELAYS], ids=["some events", "a moment"])
def test_runs_that_are_killed_are_closed_and_leave_nothing(
    project: Project, moments: tuple[float, ...]
) -> None:
    shown: dict[str, str] = {}
    for number, moment in enumerate(moments):
        define(project, number)
        kill_after(project, moment)
        wait_for(lambda: not processes(project.marker), GONE_DEADLINE_SECS)
        assert_every_record_parses(project.state)
        shown |= statuses(project)
        if number % 2:  # else the next run closes it
            project.here("reap").passed()
            for run_id in project.run_ids():
                assert_closed(project, run_id)
    killed = project.run_ids()
    define(project, len(moments))
    record = project.run("slow")
    assert record["status"] == "passed"
    for run_id in killed:
        assert_closed(project, run_id)
    project.here("reap").passed()
    assert statuses(project) == shown | {record["run_id"]: "passed"}
    left = [path.name for path in (project.state / "runs").iterdir()]
    assert sorted(left) == sorted([*killed, record["run_id"]])
    assert not list(project.state.glob("runs/**/*.tmp-*"))
    assert processes(project.marker) == []


def statuses(project: Project) -> dict[str, str]:
    return {row["run_id"]: row["status"] for row in project.here("list", "--json").passed().json}


def assert_every_record_parses(state: Path) -> None:
    for path in state.glob("runs/**/*.json"):
        json.loads(path.read_bytes())
    for path in state.glob("runs/*/events.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            json.loads(line)


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


def test_the_jobs_of_a_killed_run_end_without_anybody_looking(project: Project) -> None:
    define(project)
    running = project.start("run", "slow")
    wait_for(lambda: len(processes(project.marker)) > 1)
    kill(running)
    wait_for(lambda: not processes(project.marker), GONE_DEADLINE_SECS)


def test_without_namespaces_the_next_command_ends_the_jobs_group(project: Project) -> None:
    project.define("  group.jobs.it.command = \"bash -c 'exec -a @marker@ sleep 60' & sleep 60\";")
    running = project.shimmed("unshare", "exit 1").start("run", "group")
    wait_for(lambda: any(" sleep " not in line for line in processes(project.marker)))
    kill(running)
    project.here("reap").passed()
    wait_for(lambda: not processes(project.marker), GONE_DEADLINE_SECS)
    assert_closed(project, project.run_ids()[0])
