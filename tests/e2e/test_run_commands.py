"""Commands about runs that are recorded or going on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2e.project import HELLO, REPOSITORY, Project, finish, processes, wait_for

if TYPE_CHECKING:
    from pathlib import Path

IDS = ("20260101T000000Z-aaaaaaaa", "20260101T000000Z-aaaabbbb", "20260202T000000Z-cccccccc")
SLOW = """
  slow.jobs.it.command =
    "setsid bash -c 'exec -a @marker@ sleep 120' & exec -a @marker@ sleep 120";
"""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with three runs of known ids, only to be read; two are copies of the first."""
    targets = '  quick.jobs.it.command = "echo hi";'
    project = Project.committed(tmp_path_factory.mktemp("project"), targets)
    project.run("quick", "--run-id", IDS[0])
    first = project.run_dir(IDS[0])
    for run_id in IDS[1:]:
        copy = first.with_name(run_id)
        shutil.copytree(first, copy)
        for name in ("run.json", "plan.json", "prepared-outputs.json"):
            text = (first / name).read_text()
            (copy / name).write_text(text.replace(IDS[0], run_id))
    return project


def test_runs_are_listed_newest_first(three: Project) -> None:
    lines = three.here("list").passed().out.splitlines()
    assert lines[0].split() == ["RUN", "TARGET", "STATUS", "KIND", "TOOK", "MESSAGE"]
    assert [line.split()[:3] for line in lines[1:]] == [
        [run_id, "quick", "passed"] for run_id in reversed(IDS)
    ]
    rows = three.here("list", "--limit", "2", "--json").passed().json
    assert [(row["run_id"], row["status"]) for row in rows] == [
        (IDS[2], "passed"),
        (IDS[1], "passed"),
    ]


def test_where_nothing_ran_yet_the_list_says_so(project: Project) -> None:
    done = project.here("list").passed()
    assert done.out == ""
    assert "pikaci run TARGET" in done.err
    assert project.here("list", "--json").passed().json == []


@pytest.mark.parametrize("name", ["latest", IDS[2], "20260202", "20260202T000000Z-c"])
def test_a_run_is_named_by_its_id_the_beginning_of_it_or_latest(three: Project, name: str) -> None:
    assert three.here("status", name, "--json").passed().json["run_id"] == IDS[2]


@pytest.mark.parametrize("command", ["status", "logs", "prepared-outputs"])
def test_a_command_without_a_run_is_about_the_latest(three: Project, command: str) -> None:
    assert three.here(command).passed() == three.here(command, IDS[2]).passed()


def test_cancel_without_a_run_cancels_none_that_is_over(three: Project) -> None:
    assert "no run is running" in three.here("cancel").refused(2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("2026", "3 runs start with '2026'"),
        ("20260101T000000Z-aaaa", "2 runs start with"),
        ("2025", "no run starts with '2025'"),
        ("../../etc", "is not a run id"),
        (f"{IDS[0]}/../{IDS[1]}", "is not a run id"),
        ("", "is not a run id"),
    ],
)
@pytest.mark.parametrize("command", ["status", "logs", "rerun", "cancel", "prepared-outputs"])
def test_a_name_that_fits_no_run_or_several_is_refused(
    three: Project, command: str, name: str, said: str
) -> None:
    assert said in three.here(command, name).refused(2)
    assert len(three.run_ids()) == 3


def test_status_shows_the_run_and_its_jobs(three: Project) -> None:
    text = three.here("status", IDS[0]).passed().out
    for part in (IDS[0], "quick", "passed", str(three.run_dir(IDS[0]))):
        assert part in text
    assert three.here("status", IDS[0], "--json").passed().json == three.record(IDS[0])


def test_a_live_run_is_shown_as_running_kept_and_cancelled_with_all_it_started(
    project: Project,
) -> None:
    project.define(HELLO + SLOW)
    project.run("hello")
    running = project.start("run", "slow")
    wait_for(lambda: len(processes(project.marker)) > 1)
    run_id = project.run_ids()[-1]
    assert "running" in project.here("status", "latest").passed().out
    row, _ = project.here("list", "--json").passed().json
    assert (row["status"], row["finished_at"]) == ("running", None)
    assert "nothing to reap" in project.here("reap").passed().err
    project.here("gc", "--keep-runs", "0").passed()
    assert project.run_ids() == [run_id]
    assert len(processes(project.marker)) > 1
    assert f"cancelling run {run_id}" in project.here("cancel").passed().err
    assert finish(running).code == 130
    assert project.record()["status"] == "cancelled"
    assert project.events()[-1]["event"] == "run_finished"
    assert processes(project.marker) == []
    assert (project.run_dir() / "cancel").exists()


def test_a_run_that_is_over_cannot_be_cancelled(three: Project) -> None:
    assert "is over" in three.here("cancel", "latest").refused(2)


def test_gc_keeps_the_newest_runs(three: Project, tmp_path: Path) -> None:
    shutil.copytree(three.state, tmp_path / "state", symlinks=True)
    three = replace(three, state=tmp_path / "state")
    would = three.here("gc", "--keep-runs", "1", "--dry-run").passed().out
    assert "would remove 2 runs" in would
    assert len(three.run_ids()) == 3
    assert "removed 2 runs" in three.here("gc", "--keep-runs", "1").passed().out
    assert three.run_ids() == [IDS[2]]
    three.here("rerun", "latest").passed()


@pytest.mark.parametrize("name", ["plan", "run", "job", "prepared-outputs", "event"])
def test_schemas_are_printed_as_they_are_checked_in(three: Project, name: str) -> None:
    out = three.here("schema", name).passed().out
    assert json.loads(out)["$schema"].startswith("https://json-schema.org/")
    checked_in = REPOSITORY / "schema" / f"{name}.schema.json"
    assert not checked_in.exists() or out == checked_in.read_text()


def test_doctor_finds_what_a_run_needs(three: Project) -> None:
    out = three.here("doctor").passed().out
    for name in ("nix", "git", "state root", "processes"):
        assert name in out
    assert "BAD" not in out


def test_the_newest_run_is_the_one_that_was_made_last(project: Project) -> None:
    project.define('  t.jobs.j.command = "true";')
    ahead = "20991231T235959Z-00000000"
    project.run("t", "--run-id", ahead)
    made = project.run("t")["run_id"]
    assert made in project.here("status", "latest").passed().out.splitlines()[0]
    assert project.here("rerun", "latest", "--output", "json").json["rerun_of"] == made
    rows = project.here("list", "--json").passed().json
    assert [row["run_id"] for row in rows][1:] == [made, ahead]
    project.here("gc", "--keep-runs", "2").passed()
    assert ahead not in project.run_ids()
    assert made in project.run_ids()


def test_annotations_are_in_the_record_of_the_run_and_of_no_rerun(project: Project) -> None:
    record = project.run("hello", "--annotate", "lane=greeting", "--annotate", "forge/run=7")
    assert record["annotations"] == {"lane": "greeting", "forge/run": "7"}
    assert project.record()["annotations"] == record["annotations"]
    assert project.events()[0]["run"]["annotations"] == record["annotations"]
    argv = ("rerun", "latest", "--annotate", "lane=again", "--output", "json")
    assert project.here(*argv).passed().json["annotations"] == {"lane": "again"}
    assert project.run("hello")["annotations"] == {}


def test_an_annotation_that_is_none_is_refused_before_anything_starts(project: Project) -> None:
    sentence = project.here("run", "hello", "--annotate", "Lane=x").refused(2)
    assert "'Lane=x' is not an annotation; one is KEY=VALUE" in sentence
    assert project.run_ids() == []
