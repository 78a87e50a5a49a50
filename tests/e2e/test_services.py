"""Programs that run beside a job: started before it, waited for, ended after it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, processes

if TYPE_CHECKING:
    from e2e.project import Json

TARGETS = """
  with-services.jobs =
    let
      echo = {
        command = ''
          echo starting in $PIKACI_SERVICE_DIR
          exec python3 -c 'import os, socket, time
          time.sleep(0.3)
          s = socket.socket(socket.AF_UNIX)
          s.bind(os.environ["PIKACI_SERVICE_DIR"] + "/socket")
          s.listen()
          while True:
              c, _ = s.accept()
              c.send(b"hello from @marker@\\n")
              c.close()'
        '';
        ready = "test -S $PIKACI_SERVICE_DIR/socket";
      };
      ask = "python3 -c 'import os, socket; s = socket.socket(socket.AF_UNIX);"
        + " s.connect(os.environ[\\"PIKACI_SERVICE_ECHO\\"] + \\"/socket\\");"
        + " print(s.recv(100).decode())'";
      own = build "own" ''
        mkdir -p $out/bin
        printf '#!/bin/sh\\nexec sleep 600' >$out/bin/own-tool
        chmod +x $out/bin/own-tool
      '';
      slow = "echo loading; exec sleep 600";
    in
    {
      asks = { services.echo = echo; command = ask; };
      alone = { services.echo = echo; command = "${ask}; exit 3"; };
      none.command = "test -z $PIKACI_SERVICE_ECHO";
      ends = {
        services.short = { command = "sleep 0.2; echo last words; exit 4"; };
        command = "sleep 0.6; exit 5";
      };
      dies = {
        services.bad = { command = "echo no such table; exit 7"; ready = "false"; };
        command = "echo never";
      };
      late = {
        services.slow = { command = slow; ready = "false"; readySecs = 1; };
        command = "echo never";
      };
      hangs = {
        services.hung = {
          command = "exec sleep 600";
          ready = "echo asking; sleep 600; true";
          readySecs = 1;
        };
        command = "echo never";
      };
      in-order = {
        services.part = {
          command = ''
            (trap 'sleep 0.2; echo ended in order; exit' TERM; while :; do sleep 0.05; done)
            true
          '';
        };
        command = "sleep 0.1";
      };
      tools = {
        services.own = {
          packages = [ own ];
          command = "own-tool";
          ready = "command -v own-tool";
        };
        command = "! command -v own-tool";
      };
      killed = { services.echo = echo; command = "sleep 600"; timeoutSecs = 2; };
    };
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.committed(tmp_path_factory.mktemp("services"), TARGETS)


@pytest.fixture(scope="module")
def jobs(project: Project) -> dict[str, Json]:
    done = project.here("run", "with-services", "--output", "json")
    return {row["id"]: row for row in done.json["jobs"]}


def printed(project: Project, job: str) -> list[str]:
    return project.here("logs", "latest", "--job", job).passed().out.splitlines()


def is_pikacis(line: str) -> bool:
    return line.startswith("pikaci>")


def test_a_job_has_its_services_and_no_others(project: Project, jobs: dict[str, Json]) -> None:
    assert jobs["asks"]["status"] == "passed", printed(project, "asks")
    assert [line for line in printed(project, "asks") if line and not is_pikacis(line)] == [
        f"hello from {project.marker}"
    ]
    assert jobs["none"]["status"] == "passed"
    assert jobs["tools"]["status"] == "passed", printed(project, "tools")


def test_the_exit_code_of_the_job_is_its_own(jobs: dict[str, Json]) -> None:
    assert jobs["alone"]["exit_code"] == 3
    assert jobs["alone"]["message"] == "job alone exited with 3"


def test_a_service_that_ends_while_the_job_runs_is_noted(jobs: dict[str, Json]) -> None:
    assert jobs["ends"]["exit_code"] == 5
    note = "service short ended with 4 before the job did: last words"
    assert jobs["ends"]["notes"] == [note]
    assert jobs["ends"]["message"] == f"job ends exited with 5; {note}"


@pytest.mark.parametrize(
    ("job", "message", "line"),
    [
        ("dies", "service bad ended with 7 before it was ready", "no such table"),
        ("late", "service slow was not ready within 1 s (`readySecs`)", "loading"),
        ("hangs", "service hung was not ready within 1 s (`readySecs`)", "asking"),
    ],
)
def test_the_failure_of_a_service_is_told_as_its_own(
    project: Project, jobs: dict[str, Json], job: str, message: str, line: str
) -> None:
    row = jobs[job]
    assert (row["failure_kind"], row["cause"]["code"]) == ("test_failure", "service_failed")
    assert row["message"] == f"{message}: {line}"
    assert line in printed(project, job)
    assert "never" not in printed(project, job)


def test_its_log_lies_beside_the_jobs(project: Project, jobs: dict[str, Json]) -> None:
    assert jobs["asks"]["artifacts"] == []
    log = project.here("logs", "latest", "--job", "asks", "--service", "echo").passed().out
    assert log == "starting in /tmp/pikaci-services/echo\n"
    refused = project.here("logs", "latest", "--job", "asks", "--service", "eco").refused()
    assert "echo" in refused


def test_all_of_a_service_is_asked_to_end(project: Project, jobs: dict[str, Json]) -> None:
    assert jobs["in-order"]["status"] == "passed"
    log = project.here("logs", "latest", "--job", "in-order", "--service", "part").passed().out
    assert log.splitlines()[-1] == "ended in order"


def test_nothing_of_a_service_outlives_the_job(project: Project, jobs: dict[str, Json]) -> None:
    assert jobs["killed"]["failure_kind"] == "timeout"
    assert processes(project.marker) == []
    assert list(project.run_dir().glob("scratch/*")) == []


def test_a_real_database_serves_a_job(tmp_path: Path) -> None:
    (postgres,) = Path("/usr/lib/postgresql").glob("*/bin")
    targets = f"""
      db.jobs.query = {{
        services.db = {{
          command = ''
            export PATH={postgres}:$PATH
            chown nobody $PIKACI_SERVICE_DIR
            as="setpriv --reuid=nobody --clear-groups"
            [ "$(id -u)" = 0 ] || as=
            cd $PIKACI_SERVICE_DIR
            $as initdb -D data -A trust -U ci --no-sync >/dev/null
            exec $as postgres -D data -c listen_addresses= -k $PIKACI_SERVICE_DIR -F
          '';
          ready = "{postgres}/pg_isready -h $PIKACI_SERVICE_DIR";
        }};
        command = "{postgres}/psql -h $PIKACI_SERVICE_DB -U ci -Atc 'select 6 * 7' postgres";
      }};
    """
    project = Project.committed(tmp_path, targets)
    done = project.here("run", "db")
    assert done.code == 0, project.log("query")
    assert "42" in project.log("query").splitlines()
