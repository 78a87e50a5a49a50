"""The exit code, the status and the failure kind of a run, for each way in which it can end."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, processes, wait_for

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = """
  passes.jobs.it.command = "true";
  fails.jobs.it.command = "echo out; echo oops >&2; exit 7";
  hangs.jobs.it = { command = "sleep 60"; timeoutSecs = 1; };
  breaks = {
    prepare.dep.drv = build "dep" "echo no way; exit 1";
    jobs.it = { needs = [ "dep" ]; command = "true"; };
    jobs.other.command = "true";
  };
  works = {
    prepare.dep.drv = build "dep" "echo > $out";
    jobs.it = { needs = [ "dep" ]; command = "true"; };
  };
  mixed.jobs = {
    hangs = { command = "sleep 60"; timeoutSecs = 1; };
    fails.command = "sleep 1.5; exit 1";
  };
  slow.jobs.it.command = "exec -a @marker@ sleep 60";
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.committed(tmp_path, TARGETS)


def test_the_exit_code_and_the_status_say_whose_failure_it_is(project: Project) -> None:
    for target, code, kind, message in (
        ("passes", 0, None, "passed"),
        ("fails", 1, "test_failure", "job it exited with 7"),
        ("hangs", 124, "timeout", "job it timed out after 1 s (`timeoutSecs`)"),
        ("breaks", 1, "test_failure", "does not build"),
        ("mixed", 1, "test_failure", "job fails exited with 1"),
    ):
        done = project.here("run", target)
        assert done.code == code
        record = project.record()
        status = "passed" if code == 0 else "failed"
        assert (record["status"], record["failure_kind"]) == (status, kind)
        assert message in done.err
        shown = project.here("status", "latest").passed().out
        assert message in shown
        assert kind is None or f"failed ({kind})" in shown
        if target == "fails":
            assert {"it> out", "it> oops"} <= set(done.err.splitlines())
            run_id = project.run_ids()[-1]
            assert f"pikaci logs {run_id} --job it" in done.err
            assert f"pikaci rerun {run_id} --failed" in done.err
        if target == "breaks":
            assert "no way" in done.err
            jobs = {job["id"]: job for job in record["jobs"]}
            assert (jobs["it"]["status"], jobs["it"]["failure_kind"]) == ("failed", "test_failure")
            assert jobs["other"]["status"] == "passed"
            assert "no way" in project.log("it") if jobs["it"]["host_log_path"] else True


def test_a_skipped_run_is_no_success_and_no_failure(project: Project) -> None:
    project.define('  hello = { trigger = "branch"; jobs.it.command = "true"; };')
    project.lanes('[[branch.lanes]]\nid = "hello"\ntarget = "hello"\npaths = ["src/**"]\n')
    project.tree.commit()
    done = project.here("run", "hello", "--changed-since", "HEAD")
    assert done.code == 0
    assert project.record()["status"] == "skipped"
    assert "passed" not in done.err


def test_a_store_that_is_lost_during_a_run_is_the_machines_failure(project: Project) -> None:
    lost = project.shimmed("nix", "export NIX_REMOTE=unix:///nowhere/socket", of="build")
    done = lost.here("run", "works")
    assert done.code == 75
    record = project.record()
    assert (record["status"], record["failure_kind"]) == ("failed", "infrastructure")


def test_a_store_that_is_not_there_is_said_before_anything_starts(project: Project) -> None:
    project = project.with_env(NIX_REMOTE="unix:///nowhere/socket")
    assert "Nix can't work" in project.here("run", "works").refused(75)
    assert project.run_ids() == []


@pytest.mark.parametrize(
    ("subcommand", "is_far"),
    [
        ("rev-parse", False),
        ("config", False),
        ("ls-files", False),
        ("write-tree", False),
        ("pack-objects", True),
        ("cat-file", True),
    ],
)
def test_a_git_that_was_killed_is_the_machines_failure(
    project: Project, subcommand: str, *, is_far: bool
) -> None:
    rev = project.tree.git("rev-parse", "HEAD").decode().strip()
    source = ("--source", f"git+file://{project.root}?rev={rev}") if is_far else ()
    killed = project.shimmed("git", "kill -KILL $$", of=subcommand)
    sentence = killed.here("run", "passes", *source).refused(75)
    assert f"`git {subcommand}` was ended by signal 9 (KILL)" in sentence


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_run_and_leaves_no_process(
    project: Project, number: signal.Signals
) -> None:
    running = project.start("run", "slow")
    wait_for(lambda: processes(project.marker))
    running.send_signal(number)
    assert finish(running).code == 130
    record = project.record()
    assert (record["status"], record["failure_kind"]) == ("cancelled", None)
    assert record["jobs"][0]["status"] == "cancelled"
    assert project.events()[-1]["event"] == "run_finished"
    assert processes(project.marker) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_before_the_run_has_begun_leaves_no_nix(
    project: Project, number: signal.Signals
) -> None:
    held = f"exec bash -c 'exec -a {project.marker} sleep 60'"
    running = project.shimmed("nix", held, of="eval").start("run", "passes")
    wait_for(lambda: processes(project.marker))
    running.send_signal(number)
    done = finish(running)
    if number != signal.SIGKILL:
        assert (done.code, done.err.splitlines()[-1]) == (130, "pikaci: interrupted")
    assert project.run_ids() == []
    wait_for(lambda: not processes(project.marker))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_end_of_a_run_does_not_change_its_exit_code(
    project: Project, number: signal.Signals
) -> None:
    project.define('  wide.jobs.it.command = "seq 100000";')
    # Nobody reads its output, so that it waits to print when its record has an end.
    running = project.start("run", "wide", "-L", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(lambda: project.run_ids() and project.record()["finished_at"])
    running.send_signal(number)
    assert finish(running).code == 0
