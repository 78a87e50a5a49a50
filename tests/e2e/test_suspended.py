"""A pikaci that was stopped (Ctrl-Z) while its job went on: what its job lived counts."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, processes, wait_for

if TYPE_CHECKING:
    from pathlib import Path

BUILDS = """
  builds = {
    prepare.dep = { timeoutSecs = 8; drv = build "dep" "echo began; sleep 2; echo > $out"; };
    jobs.it = { needs = [ "dep" ]; command = "true"; };
  };
"""


@pytest.mark.parametrize(
    ("limit_secs", "ends_after_secs", "ended"),
    [(6, 0, (1, "test_failure")), (2, 4, (124, "timeout"))],
)
def test_a_deadline_is_judged_by_what_the_job_lived(
    project: Project,
    tmp_path: Path,
    limit_secs: int,
    ends_after_secs: int,
    ended: tuple[int, str],
) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    waits = f"touch {begun}; until [ -e {go} ]; do sleep 0.1; done; exit 3; : {project.token}"
    project.define(f'  waits.jobs.it = {{ command = "{waits}"; timeoutSecs = {limit_secs}; }};')
    with project.start("run", "waits") as running:
        wait_for(begun.exists)
        running.send_signal(signal.SIGSTOP)
        due = time.monotonic() + limit_secs + 1
        time.sleep(ends_after_secs)
        go.touch()
        wait_for(lambda: not [line for line in processes(project.token) if "until" in line])
        time.sleep(max(0, due - time.monotonic()))
        running.send_signal(signal.SIGCONT)
        code = finish(running).code
    (job,) = project.record()["jobs"]
    assert (code, job["failure_kind"]) == ended
    assert job["exit_code"] == 3


def test_a_build_that_ended_meanwhile_was_not_late(project: Project) -> None:
    project.define(BUILDS)
    with project.start("run", "builds") as running:
        wait_for(lambda: list(project.state.glob("runs/*/jobs/it/attempts/1/host.log")))
        (log,) = project.state.glob("runs/*/jobs/it/attempts/1/host.log")
        wait_for(lambda: "> began" in log.read_text())
        running.send_signal(signal.SIGSTOP)
        time.sleep(9)
        running.send_signal(signal.SIGCONT)
        assert finish(running).code == 0
