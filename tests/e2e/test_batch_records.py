"""What a batch leaves: found by its id, shown, run again, cancelled and removed as one."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from e2e.project import Json, Project, finish, processes, wait_for

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = """
  good.jobs.it.command = "echo from-good";
  bad.jobs = { it.command = "echo from-bad; test -e @fixed@"; fine.command = "true"; };
  other.jobs.it.command = "echo from-other";
"""
SLOW = """
  slow.jobs.it.command = "exec -a @marker@ sleep 60";
  slower.jobs.it.command = "exec -a @marker@ sleep 60";
"""


@pytest.fixture
def fixed(tmp_path: Path) -> Path:
    """Whether it is there decides whether `bad` passes."""
    return tmp_path / "fixed"


@pytest.fixture
def project(tmp_path: Path, fixed: Path) -> Project:
    return Project.committed(tmp_path, TARGETS.replace("@fixed@", str(fixed)))


@pytest.fixture
def slow(tmp_path: Path) -> Project:
    return Project.committed(tmp_path, SLOW)


def sleeping(project: Project) -> int:
    """How many jobs sleep."""
    return len([line for line in processes(project.marker) if "exec" not in line])


def run(project: Project, *names: str) -> str:
    """Run targets: the id of the batch."""
    project.here("run", *names)
    batch: str = project.record()["batch"]
    return batch


def of_batch(project: Project, batch: str) -> list[Json]:
    """The records of a batch, as `status` prints them."""
    found: list[Json] = project.here("status", batch, "--json").passed().json["runs"]
    return found


def ends(rows: list[Json]) -> dict[str, str]:
    return {row["target_id"]: row["status"] for row in rows}


def test_status_takes_a_batch_by_its_id_a_prefix_and_latest(project: Project) -> None:
    project.run("other")
    batch = run(project, "good", "bad")
    for name in (batch, batch[:-1], "latest"):
        shown = project.here("status", name).passed().out
        for word in ("good", "passed", "bad", "failed (test_failure)", "exited with 1", batch):
            assert word in shown
        assert "other" not in shown
        assert ends(of_batch(project, name)) == {"good": "passed", "bad": "failed"}
    record = project.here("status", project.run_ids()[1], "--json").passed().json
    assert (record["target_id"], record["batch"]) == ("good", batch)


def test_list_shows_which_runs_are_of_one_batch(project: Project) -> None:
    project.run("other")
    batch = run(project, "good", "bad")
    rows = project.here("list", "--json").passed().json
    assert [row["batch"] for row in rows] == [batch, batch, None]
    assert batch in project.here("list").passed().out


def test_a_command_that_is_about_one_run_names_those_of_the_batch(project: Project) -> None:
    run(project, "good", "bad")
    sentence = project.here("prepared-outputs", "latest").refused(2)
    for run_id in project.run_ids():
        assert run_id in sentence


def test_a_batch_is_run_again_as_one_and_of_it_what_failed(project: Project, fixed: Path) -> None:
    batch = run(project, "good", "bad")
    first = project.run_ids()
    assert project.here("rerun", batch).code == 1
    again = [project.record(run_id) for run_id in project.run_ids()[2:]]
    assert [record["rerun_of"] for record in again] == first
    (other,) = {record["batch"] for record in again}
    assert other != batch
    fixed.touch()
    project.here("rerun", batch, "--failed").passed()
    (last,) = project.run_ids()[4:]
    record = project.record(last)
    assert (record["target_id"], record["rerun_of"]) == ("bad", first[1])
    assert [job["status"] for job in record["jobs"]] == ["skipped", "passed"]
    assert "passed" in project.here("rerun", last, "--failed").refused(2)


def test_a_batch_of_which_all_passed_has_nothing_that_failed(project: Project) -> None:
    batch = run(project, "good", "other")
    assert "passed" in project.here("rerun", batch, "--failed").refused(2)
    assert len(project.run_ids()) == 2


def test_a_batch_is_cancelled_as_one(slow: Project) -> None:
    running = slow.start("run", "--all")
    wait_for(lambda: sleeping(slow) == 2)
    slow.here("cancel", "latest").passed()
    assert finish(running).code == 130
    assert ends(of_batch(slow, "latest")) == {"slow": "cancelled", "slower": "cancelled"}
    assert "over" in slow.here("cancel", "latest").refused(2)


def test_a_batch_whose_process_was_killed_has_failed_and_is_closed(slow: Project) -> None:
    running = slow.start("run", "--all")
    wait_for(lambda: sleeping(slow) == 2)
    running.kill()
    finish(running)
    wait_for(lambda: not processes(slow.marker))
    assert ends(of_batch(slow, "latest")) == {"slow": "failed", "slower": "failed"}
    assert slow.here("status", "latest").passed().out.count("died") >= 2
    closed = slow.here("reap").passed().out
    for run_id in slow.run_ids():
        assert f"closed {run_id}" in closed
        assert slow.record(run_id)["cause"]["code"] == "owner_died"


def test_what_was_kept_of_a_batch_is_removed_with_its_last_run(project: Project) -> None:
    batch = run(project, "good", "bad")
    project.here("gc", "--keep-runs", "1").passed()
    assert ends(of_batch(project, batch)) == {"bad": "failed"}
    (row,) = [line for line in project.here("status", batch).out.splitlines() if "good" in line]
    assert "removed" in row
    project.here("gc", "--keep-runs", "0").passed()
    assert "no run" in project.here("status", batch).refused(2)
    (kept,) = (project.state / "batches").iterdir()
    two_hours_ago = time.time() - 7200
    os.utime(kept, (two_hours_ago, two_hours_ago))
    project.here("gc").passed()
    assert list((project.state / "batches").iterdir()) == []


@pytest.mark.parametrize("content", ["", "[]", '{"runs": 1}', '{"runs": [{"run_id": "../../x"}]}'])
def test_a_damaged_batch_takes_no_run_with_it(project: Project, content: str) -> None:
    batch = run(project, "good", "bad")
    (project.state / "batches" / f"{batch}.json").write_text(content)
    project.here("list").passed()
    assert project.here("status", project.run_ids()[0]).passed()
    assert not project.here("status", batch).is_our_fault
    assert not project.here("status", "latest").is_our_fault
    project.here("gc", "--keep-runs", "0").passed()
    json.loads(project.here("list", "--json").passed().out)
