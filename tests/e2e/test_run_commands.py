"""Commands about runs that are recorded or going on."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from e2e.project import HELLO, REPOSITORY, Done, Project, finish, processes, wait_for

if TYPE_CHECKING:
    import subprocess

IDS = ("20260101T000000Z-aaaaaaaa", "20260101T000000Z-aaaabbbb", "20260202T000000Z-cccccccc")


@pytest.fixture
def ran(project: Project) -> Project:
    """A project with three runs of known ids; two are copies of the first."""
    project.define('  quick.jobs.it.command = "echo hi";')
    project.run("quick", "--run-id", IDS[0])
    first = project.run_dir(IDS[0])
    for run_id in IDS[1:]:
        copy = first.with_name(run_id)
        shutil.copytree(first, copy)
        for name in ("run.json", "plan.json", "prepared-outputs.json"):
            text = (first / name).read_text()
            (copy / name).write_text(text.replace(IDS[0], run_id))
    return project


@pytest.fixture
def slow(project: Project) -> Project:
    """A project whose `slow` target runs until it is ended."""
    marker = f"marker-{project.token}"
    project.define(
        HELLO + f"  slow.jobs.it.command = \"setsid bash -c 'exec -a {marker} sleep 120' & "
        f'exec -a {marker} sleep 120";'
    )
    return project


def started(project: Project, *args: str) -> subprocess.Popen[bytes]:
    running = project.start("run", "slow", *args)
    wait_for(lambda: len(processes(f"marker-{project.token}")) > 1)
    return running


def test_runs_are_listed_newest_first(ran: Project) -> None:
    lines = ran.pikaci("list").passed().out.splitlines()
    assert lines[0].split() == ["RUN", "TARGET", "STATUS", "KIND", "TOOK", "MESSAGE"]
    assert [line.split()[:3] for line in lines[1:]] == [
        [run_id, "quick", "passed"] for run_id in reversed(IDS)
    ]


def test_a_list_may_be_short_or_json(ran: Project) -> None:
    rows = ran.pikaci("list", "--limit", "2", "--json").passed().json
    assert [row["run_id"] for row in rows] == [IDS[2], IDS[1]]
    assert {row["status"] for row in rows} == {"passed"}


def test_where_nothing_ran_yet_the_list_says_so(project: Project) -> None:
    done = project.pikaci("list").passed()
    assert done.out == ""
    assert "pikaci run TARGET" in done.err
    assert project.pikaci("list", "--json").passed().json == []


@pytest.mark.parametrize("name", ["latest", IDS[2], "20260202", "20260202T000000Z-c"])
def test_a_run_is_named_by_its_id_the_beginning_of_it_or_latest(ran: Project, name: str) -> None:
    assert ran.pikaci("status", name, "--json").passed().json["run_id"] == IDS[2]


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
    ran: Project, command: str, name: str, said: str
) -> None:
    assert said in ran.pikaci(command, name).refused(2)
    assert len(ran.run_ids()) == 3


def test_status_shows_the_run_and_its_jobs(ran: Project) -> None:
    text = ran.pikaci("status", IDS[0]).passed().out
    for part in (IDS[0], "quick", "passed", str(ran.run_dir(IDS[0]))):
        assert part in text
    assert ran.pikaci("status", IDS[0], "--json").passed().json == ran.record(IDS[0])


def test_status_says_why_a_run_failed(project: Project) -> None:
    project.define('  fails.jobs.it.command = "exit 7";')
    project.pikaci("run", "fails")
    done = project.pikaci("status", "latest").passed()
    assert "failed (test_failure)" in done.out
    assert "job it exited with 7" in done.out


def test_cancel_ends_a_run_with_all_it_started(slow: Project) -> None:
    running = started(slow)
    assert "cancelling run" in slow.pikaci("cancel", "latest").passed().err
    assert finish(running).code == 130
    assert slow.record()["status"] == "cancelled"
    assert processes(f"marker-{slow.token}") == []
    assert (slow.run_dir() / "cancel").exists()


def test_a_run_that_is_over_cannot_be_cancelled(ran: Project) -> None:
    assert "is over" in ran.pikaci("cancel", "latest").refused(2)


def test_a_live_run_is_shown_as_running(slow: Project) -> None:
    running = started(slow)
    text = slow.pikaci("status", "latest").passed().out
    assert "running" in text
    (row,) = slow.pikaci("list", "--json").passed().json
    assert (row["status"], row["finished_at"]) == ("running", None)
    assert "nothing to reap" in slow.pikaci("reap").passed().err
    slow.pikaci("cancel", "latest")
    finish(running)


def test_gc_keeps_the_newest_runs(ran: Project) -> None:
    would = ran.pikaci("gc", "--keep-runs", "1", "--dry-run").passed().out
    assert "would remove 2 runs" in would
    assert len(ran.run_ids()) == 3
    assert "removed 2 runs" in ran.pikaci("gc", "--keep-runs", "1").passed().out
    assert ran.run_ids() == [IDS[2]]
    ran.pikaci("rerun", "latest").passed()


def test_gc_keeps_a_run_that_is_going_on(slow: Project) -> None:
    slow.run("hello")
    running = started(slow)
    run_id = slow.run_ids()[-1]
    slow.pikaci("gc", "--keep-runs", "0").passed()
    assert slow.run_ids() == [run_id]
    assert len(processes(f"marker-{slow.token}")) > 1
    slow.pikaci("cancel", "latest").passed()
    assert finish(running).code == 130
    assert slow.record()["status"] == "cancelled"
    assert slow.events()[-1]["event"] == "run_finished"


@pytest.mark.parametrize("name", ["plan", "run", "job", "prepared-outputs", "event"])
def test_schemas_are_printed_as_they_are_checked_in(project: Project, name: str) -> None:
    out = project.pikaci("schema", name).passed().out
    assert json.loads(out)["$schema"].startswith("https://json-schema.org/")
    checked_in = REPOSITORY / "schema" / f"{name}.schema.json"
    assert not checked_in.exists() or out == checked_in.read_text()


def test_doctor_finds_what_a_run_needs(project: Project) -> None:
    out = project.pikaci("doctor").passed().out
    for name in ("nix", "git", "state root", "processes"):
        assert name in out
    assert "BAD" not in out


def test_doctor_tells_what_is_bad(project: Project) -> None:
    done: Done = project.with_env(NIX_REMOTE="unix:///nowhere/socket").pikaci("doctor")
    assert done.code == 75
    assert "BAD  nix store" in done.out


def test_the_newest_run_is_the_one_that_was_made_last(project: Project) -> None:
    project.define('  t.jobs.j.command = "true";')
    ahead = "20991231T235959Z-00000000"
    project.run("t", "--run-id", ahead)
    made = project.run("t")["run_id"]
    assert made in project.pikaci("status", "latest").passed().out.splitlines()[0]
    assert project.pikaci("rerun", "latest", "--output", "json").json["rerun_of"] == made
    rows = project.pikaci("list", "--json").passed().json
    assert [row["run_id"] for row in rows][1:] == [made, ahead]
    project.pikaci("gc", "--keep-runs", "2").passed()
    assert ahead not in project.run_ids()
    assert made in project.run_ids()
