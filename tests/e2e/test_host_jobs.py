"""What a job that is a process of this machine has, however pikaci was started."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from e2e.project import Project

TARGETS = r"""
  path.jobs.it.command = ''echo "$PATH"; env | grep -E "^(PYTHON|VIRTUAL_ENV|PIP_)" || true'';
  segv.jobs.it.command = "kill -SEGV $$";
  posix.jobs.it = { command = "cat fixture"; env = { POSIXLY_CORRECT = "1"; BASH_ENV = "/x"; }; };
  nothing.jobs.it.command = "rm -rf \"$PIKACI_ARTIFACTS\"; exit 0";
  began.jobs.it.command = "rm -rf ../started ../*.json; exit 3";
  payload = {
    prepare.dep.drv = build "dep" ''
      mkdir -p $out/share/pikaci
      printf %s '{"kind": "\ud800"}' > $out/share/pikaci/payload-manifest.json
    '';
    jobs.it = { needs = [ "dep" ]; command = "true"; };
  };
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.committed(tmp_path_factory.mktemp("project"), TARGETS)
    project.write("fixture", "there\n")
    return project


def test_a_jobs_path_is_the_same_in_an_activated_environment_and_a_dev_shell(
    project: Project, tmp_path: Path
) -> None:
    own = str(Path(sys.executable).parent)
    project.here("run", "path").passed()
    first = project.log("it")
    path = f"{own}:{tmp_path}:{os.environ['PATH']}"
    shell = project.with_env(PATH=path, VIRTUAL_ENV=own, PIP_USER="1", PYTHONDONTWRITEBYTECODE="1")
    shell.here("run", "path").passed()

    def said(log: str) -> list[str]:
        return [line for line in log.splitlines() if not line.startswith("pikaci> ")]

    assert said(first) == said(project.log("it"))
    assert own not in said(first)[0].split(":")
    assert len(said(first)) == 1


def test_a_signal_is_told_by_its_name(project: Project) -> None:
    done = project.here("run", "segv")
    assert done.code == 1
    assert "job it was killed by SIGSEGV" in done.err
    assert project.record()["jobs"][0]["exit_code"] == 139


def test_what_a_job_can_touch_decides_nothing(project: Project) -> None:
    assert "no artifacts: " in project.here("run", "nothing").passed().err
    (job,) = project.record()["jobs"]
    assert (job["status"], job["attempt"], len(job["notes"])) == ("passed", 1, 1)
    assert project.here("run", "began").code == 1
    (job,) = project.record()["jobs"]
    assert (job["failure_kind"], job["exit_code"], job["attempt"]) == ("test_failure", 3, 1)


def test_the_jobs_environment_begins_with_the_job(project: Project) -> None:
    project.here("run", "posix").passed()
    assert "there" in project.log("it").splitlines()


def test_a_payload_manifest_that_is_no_text_is_its_builders_mistake(project: Project) -> None:
    assert project.here("run", "payload").code == 1
    (job,) = project.record()["jobs"]
    assert (job["failure_kind"], job["cause"]["code"]) == ("test_failure", "payload_invalid")
