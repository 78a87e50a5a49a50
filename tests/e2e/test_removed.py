"""A run whose records are removed while it goes on."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, processes, wait_for
from jerichoci.state.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("what", "remove"),
    [("run", remove_tree), ("run", move), ("runs", move), ("state", remove_tree)],
)
def test_a_run_whose_directory_is_removed_ends_at_once(
    project: Project, what: str, remove: Callable[[Path], None]
) -> None:
    project.define('  t.jobs.j.command = "exec -a @marker@ sleep 600";')
    running = project.start("run", "t", "--output", "jsonl")
    wait_for(lambda: processes(project.marker))
    run = project.run_dir()
    remove({"run": run, "runs": run.parent, "state": project.state}[what])
    done = finish(running)
    assert done.code == 75
    # A file of it, if the removal was seen in the middle.
    assert re.search(rf"{re.escape(str(run))}\S* was removed while the run went on", done.err)
    assert "Traceback" not in done.err
    last = json.loads(done.out.splitlines()[-1])
    assert last["event"] == "run_finished"
    assert (last["run"]["status"], last["run"]["failure_kind"]) == ("failed", "infrastructure")
    assert last["run"]["cause"]["code"] == "record_removed"
    assert [row["seq"] for row in done.lines] == list(range(len(done.lines)))
    assert processes(project.marker) == []
    assert not run.exists()
    assert project.here("list").passed().out == ""


def test_a_run_whose_events_are_removed_has_its_end_recorded(project: Project) -> None:
    project.define('  t.jobs.j.command = "exec -a @marker@ sleep 600";')
    running = project.start("run", "t")
    wait_for(lambda: processes(project.marker))
    (project.run_dir() / "events.jsonl").unlink()
    assert finish(running).code == 75
    record = project.record()
    assert (record["status"], record["failure_kind"]) == ("failed", "infrastructure")
    assert record["cause"]["code"] == "record_removed"


def test_a_run_whose_record_is_removed_has_it_again_at_its_end(project: Project) -> None:
    project.define(
        '  t.jobs.j.command = "until test -e $PIKACI_ARTIFACTS/../../go; do sleep 0.05; done";'
    )
    running = project.start("run", "t")
    wait_for(lambda: list((project.state / "runs").glob("*/jobs/j/attempts/1/artifacts/files")))
    (project.run_dir() / "run.json").unlink()
    (project.run_dir() / "jobs/j/attempts/1/go").touch()
    assert finish(running).code == 0
    assert project.record()["status"] == "passed"
