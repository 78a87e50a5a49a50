"""What is built now, how long it will take, and by how much that was wrong."""

from __future__ import annotations

import re

import pytest

from e2e.project import Project

TARGETS = """
  slow = {
    prepare.deps.drv = build "whole" ''
      : ${build "part" "sleep 2; echo > $out"}; sleep 1.3; echo > $out
    '';
    jobs.it = { needs = [ "deps" ]; command = "sleep 2"; };
  };
  quick.jobs.it.command = "sleep 2";
  q2.jobs.it.command = "true";
  q10.jobs.it.command = "true";
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.committed(tmp_path_factory.mktemp("project"), TARGETS)


def test_a_first_run_shows_what_is_built_and_the_next_how_long_it_takes(project: Project) -> None:
    with project.on_terminal("run", "slow") as screen:
        screen.wait_for("preparing deps")
        screen.wait_for("building part (0 of 2 built)")
        assert screen.wait() == 0
    beats = [event for event in project.events() if event["event"] == "heartbeat"]
    assert ["part"] in [beat["building"] for beat in beats]
    assert {beat["to_build"] for beat in beats if beat["building"]} == {2}
    assert beats[-1]["building"] == []
    assert "estimated" not in project.here("status").passed().out
    with project.on_terminal("run", "slow") as screen:
        screen.wait_for("0 of 1 jobs done, about 1 s left")
        assert screen.wait() == 0
    record = project.record()
    assert 2000 <= record["estimated_ms"] < 6000
    (line,) = (
        line
        for line in project.here("status").passed().out.splitlines()
        if line.startswith("started ")
    )
    assert re.search(r", took \d\.\d s, estimated \d\.\d s( \(\d+ % too (long|short)\))?$", line)


def test_runs_of_a_batch_have_an_estimate_each_and_one_together(project: Project) -> None:
    project.here("run", "slow", "quick").passed()
    project.here("run", "slow", "quick").passed()
    status = project.here("status").passed().out
    assert re.search(r"^started .*, took .*, estimated \d\.\d s", status, re.MULTILINE)
    assert all(project.record(run_id)["estimated_ms"] for run_id in project.run_ids()[-2:])


def test_all_targets_are_run_as_people_count(project: Project) -> None:
    planned = project.here("run", "--all", "--dry-run").passed().out
    targets = re.findall(r"^(\S+) on ", planned, re.MULTILINE)
    assert targets == ["q2", "q10", "quick", "slow"]
