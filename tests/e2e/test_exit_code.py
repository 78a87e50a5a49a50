"""The exit code, the status and the failure kind of a run, for each way in which it can end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, processes, shim, wait_for

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
  slow.jobs.it.command = "exec -a marker-@token@ sleep 60";
"""


@pytest.fixture
def project(project: Project) -> Project:
    project.define(TARGETS.replace("@token@", project.token))
    return project


@pytest.mark.parametrize(
    ("target", "code", "kind", "message"),
    [
        ("passes", 0, None, None),
        ("fails", 1, "test_failure", "job it exited with 7"),
        ("hangs", 124, "timeout", "job it timed out after 1 s (`timeoutSecs`)"),
        ("breaks", 1, "test_failure", "does not build"),
        ("mixed", 1, "test_failure", "job fails exited with 1"),
    ],
)
def test_the_exit_code_says_whose_failure_it_is(
    project: Project, target: str, code: int, kind: str | None, message: str | None
) -> None:
    done = project.pikaci("run", target)
    assert done.code == code
    record = project.record()
    assert record["status"] == ("passed" if code == 0 else "failed")
    assert record["failure_kind"] == kind
    assert message is None or message in record["message"]
    assert message is None or message in done.err


def test_a_failing_job_shows_its_last_lines_and_what_to_type_next(project: Project) -> None:
    done = project.pikaci("run", "fails")
    said = done.err.splitlines()
    assert "it> out" in said
    assert "it> oops" in said
    run_id = project.run_ids()[0]
    assert f"pikaci logs {run_id} --job it" in done.err
    assert f"pikaci rerun {run_id} --failed" in done.err


def test_a_failing_builder_shows_its_last_lines_and_spares_the_other_jobs(
    project: Project,
) -> None:
    done = project.pikaci("run", "breaks")
    assert "no way" in done.err
    jobs = {job["id"]: job for job in project.record()["jobs"]}
    assert (jobs["it"]["status"], jobs["it"]["failure_kind"]) == ("failed", "test_failure")
    assert jobs["other"]["status"] == "passed"
    assert "no way" in project.log("it") if jobs["it"]["host_log_path"] else True


def test_a_skipped_run_is_no_success_and_no_failure(project: Project) -> None:
    project.define('  hello = { trigger = "branch"; jobs.it.command = "true"; };')
    project.lanes('[[branch.lanes]]\nid = "hello"\ntarget = "hello"\npaths = ["src/**"]\n')
    project.tree.commit()
    done = project.pikaci("run", "hello", "--changed-since", "HEAD")
    assert done.code == 0
    assert project.record()["status"] == "skipped"
    assert "passed" not in done.err


def test_a_store_that_is_lost_during_a_run_is_the_machines_failure(project: Project) -> None:
    lost = shim(
        project.state.with_name("shims"),
        "nix",
        'case " $* " in *" build "*) export NIX_REMOTE=unix:///nowhere/socket;; esac\n'
        'exec "$real" "$@"',
    )
    done = project.with_env(PATH=lost).pikaci("run", "works")
    assert done.code == 75
    record = project.record()
    assert (record["status"], record["failure_kind"]) == ("failed", "infrastructure")


def test_a_store_that_is_not_there_is_said_before_anything_starts(project: Project) -> None:
    project = project.with_env(NIX_REMOTE="unix:///nowhere/socket")
    assert "Nix can't work" in project.pikaci("run", "works").refused(75)
    assert project.run_ids() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_run_and_leaves_no_process(
    project: Project, number: signal.Signals
) -> None:
    running = project.start("run", "slow")
    wait_for(lambda: processes(f"marker-{project.token}"))
    running.send_signal(number)
    assert finish(running).code == 130
    record = project.record()
    assert (record["status"], record["failure_kind"]) == ("cancelled", None)
    assert record["jobs"][0]["status"] == "cancelled"
    assert project.events()[-1]["event"] == "run_finished"
    assert processes(f"marker-{project.token}") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_run_has_begun_leaves_no_nix(
    project: Project, tmp_path: Path, number: signal.Signals
) -> None:
    marker, begun = f"marker-{project.token}", tmp_path / "begun"
    script = f'case " $* " in *" eval "*) touch {begun}; sleep 60; : {marker};; esac; exit 1'
    project = project.with_env(PATH=shim(tmp_path / "shims", "nix", script))
    running = project.start("run", "passes")
    wait_for(begun.exists)
    running.send_signal(number)
    done = finish(running)
    assert (done.code, done.err.splitlines()[-1]) == (130, "pikaci: interrupted")
    assert project.run_ids() == []
    wait_for(lambda: not processes(marker))


def test_a_pikaci_that_is_killed_before_the_run_has_begun_leaves_no_nix(
    project: Project, tmp_path: Path
) -> None:
    marker, begun = f"marker-{project.token}", tmp_path / "begun"
    script = f'case " $* " in *" eval "*) touch {begun}; exec -a {marker} sleep 60;; esac; exit 1'
    project = project.with_env(PATH=shim(tmp_path / "shims", "nix", script))
    running = project.start("run", "passes")
    wait_for(begun.exists)
    running.kill()
    finish(running)
    wait_for(lambda: not processes(marker))
