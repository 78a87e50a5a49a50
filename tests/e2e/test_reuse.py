"""`run --reuse`: a verdict is taken from an earlier run of the same, and from no other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from e2e.project import HELLO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.project import Project

COUNTED = """
  counted = { @more@ jobs.it = { command = "echo x >> @file@; @command@"; @job@ }; };
"""


class Counted:
    """A target that counts how often its job runs."""

    def __init__(self, project: Project, file: Path) -> None:
        self.project = project
        self.file = file

    def define(self, command: str = "true", job: str = "", more: str = "") -> None:
        text = COUNTED.replace("@file@", str(self.file)).replace("@command@", command)
        self.project.define(HELLO + text.replace("@job@", job).replace("@more@", more))

    def given(self, **environment: str) -> Counted:
        return Counted(self.project.with_env(**environment), self.file)

    @property
    def runs(self) -> int:
        return len(self.file.read_text().splitlines()) if self.file.exists() else 0

    def again(self, *flags: str) -> tuple[bool, str]:
        """Whether a run with `--reuse` took an earlier verdict, and what it said."""
        before = self.runs
        done = self.project.here("run", "counted", "--reuse", *flags)
        is_reused = self.project.record()["reused_run"] is not None
        assert (self.runs == before) == is_reused, done
        return is_reused, done.err


@pytest.fixture
def counted(project: Project, tmp_path: Path) -> Counted:
    """A target that passed once."""
    counted = Counted(project, tmp_path / "count")
    counted.define()
    assert not counted.again()[0]
    return counted


def test_the_same_again_is_not_run_and_says_of_which_run_its_verdict_is(counted: Counted) -> None:
    project = counted.project
    first = project.record()
    is_reused, said = counted.again()
    assert is_reused
    second = project.record()
    assert second["run_id"] != first["run_id"]
    assert (second["status"], second["reused_run"]) == ("passed", first["run_id"])
    sentence = f"same plan and tree as run {first['run_id']}"
    (line,) = (line for line in said.splitlines() if "passed" in line)
    assert line.startswith("pikaci: passed in ")
    assert line.endswith(f" ms: {sentence}")
    assert sentence in project.here("status", "latest").passed().out
    assert [(job["status"], job["attempts"]) for job in second["jobs"]] == [("passed", [])]
    assert [event["event"] for event in project.events()] == ["run_started", "run_finished"]
    assert counted.again()[0]
    assert project.record()["reused_run"] == first["run_id"]


def test_without_the_flag_it_is_run(counted: Counted) -> None:
    assert counted.project.run("counted")["reused_run"] is None
    assert counted.runs == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda counted: counted.project.write("file"),
        lambda counted: counted.define("true && true"),
        lambda counted: counted.define(job='env.A = "1";'),
    ],
)
def test_another_tree_or_plan_is_run(counted: Counted, change: Callable[[Counted], None]) -> None:
    change(counted)
    assert not counted.again()[0]
    assert counted.again()[0]


def test_a_variable_that_a_job_is_given_is_a_part_of_the_same(counted: Counted) -> None:
    counted.define(job='passEnv = [ "GIVEN" ];')
    for value in ("1", "2"):
        assert [counted.given(GIVEN=value).again()[0] for _ in range(2)] == [False, True]


def test_a_failure_is_not_taken_and_what_failed_and_passed_is_flaky(
    counted: Counted, tmp_path: Path
) -> None:
    switch = tmp_path / "switch"
    counted.define(f"test -e {switch}")
    assert not counted.again()[0]
    assert not counted.again()[0]
    switch.touch()
    assert not counted.again()[0]
    is_reused, said = counted.again()
    assert not is_reused
    assert "no earlier verdict is taken for counted: run " in said
    assert " failed" in said


def test_what_passed_when_it_was_tried_again_is_flaky(counted: Counted, tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    counted.define(f"test -e {switch} || {{ touch {switch}; exit 1; }}", "retries.test = 1;")
    assert not counted.again()[0]
    assert counted.project.record()["status"] == "passed"
    assert not counted.again()[0]
    assert "passed when it was tried again" in counted.again()[1]


def test_a_target_can_refuse_it(counted: Counted) -> None:
    counted.define(more="reuse = false;")
    assert not counted.again()[0]
    is_reused, said = counted.again()
    assert not is_reused
    assert "its target has `reuse = false`" in said


def test_a_job_with_a_secret_is_run(counted: Counted) -> None:
    counted.define(job='secrets.TOKEN.env = "TOKEN";')
    given = counted.given(TOKEN="abcdefgh")  # noqa: S106 - a test's
    assert not given.again()[0]
    is_reused, said = given.again()
    assert not is_reused
    assert "its job it has secrets" in said


def test_an_old_verdict_is_not_taken(counted: Counted) -> None:
    path = counted.project.run_dir() / "run.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"finished_at": "2026-01-01T00:00:00.000Z"}))
    is_reused, said = counted.again()
    assert not is_reused
    assert "is more than 168 h old" in said
    assert counted.again("--reuse-hours", "1")[0]


def test_a_part_of_a_target_is_not_the_whole(project: Project, tmp_path: Path) -> None:
    counted = Counted(project, tmp_path / "count")
    counted.define(more='jobs.other.command = "true";')
    assert not counted.again("--job", "it")[0]
    assert counted.again("--job", "it")[0]
    jobs = {job["id"]: job["status"] for job in project.record()["jobs"]}
    assert jobs == {"it": "passed", "other": "skipped"}
    assert not counted.again()[0]


def test_of_several_targets_some_are_run(counted: Counted) -> None:
    command = ("run", "counted", "hello", "--reuse", "--output", "json")
    done = counted.project.here(*command).passed()
    reused = {run["target_id"]: run["reused_run"] is not None for run in done.json["runs"]}
    assert reused == {"counted": True, "hello": False}
    done = counted.project.here(*command).passed()
    assert all(run["reused_run"] for run in done.json["runs"])
    assert counted.runs == 1


def test_what_is_known_of_removed_runs_is_forgotten(counted: Counted) -> None:
    project = counted.project
    project.here("gc", "--keep-runs", "0").passed()
    assert not list((project.state / "verdicts").iterdir())
    assert not counted.again()[0]
