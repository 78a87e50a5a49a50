"""What jobs in guests have beside their command: packages, other jobs' files, variables, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.test_tools import listed
from incus.guest_project import Json, make_project

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Project
    from incus.server import IncusServer

TOKEN = "correct-horse-battery"  # noqa: S105 - no password of anything
TARGETS = """
  world.jobs = let
    guest = { runtime = "incus"; incus.role = "runner"; timeoutSecs = 60; };
    left = "mkdir -p $PIKACI_ARTIFACTS/deep; cd $PIKACI_ARTIFACTS;"
      + " echo made by $0 >deep/file; printf '#!/bin/sh\\necho runs\\n' >tool; chmod +x tool";
    pack = "mkdir -p $out/bin; echo 'echo packed' >$out/bin/packed; chmod +x $out/bin/packed";
  in {
    here.command = left;
    there = guest // { command = left; };
    uses-both = guest // {
      needs = [ "here" "there" ];
      packages = [ (build "pack" pack) ];
      passEnv = [ "GIVEN" "ABSENT" ];
      command = ''
        cat $PIKACI_INPUT_HERE/deep/file $PIKACI_INPUT_THERE/deep/file
        $PIKACI_INPUT_THERE/tool; $PIKACI_INPUT_HERE/tool
        ! touch $PIKACI_INPUT_HERE/x; ! touch $PIKACI_INPUT_THERE/deep/x
        packed; echo $GIVEN ''${ABSENT-absent}
      '';
    };
    in-a-shell = guest // {
      devShell = derivation {
        name = "shell";
        inherit system;
        builder = "/bin/bash";
        PATH = "@path@";
        word = "of the shell";
        shellHook = "greet() { echo $word; }";
      };
      command = "greet";
    };
    plain-environment = guest // { command = "env -0 >$PIKACI_ARTIFACTS/env"; };
    here-again = {
      needs = [ "there" ];
      command = "cat $PIKACI_INPUT_THERE/deep/file; $PIKACI_INPUT_THERE/tool";
    };
    small-disk = guest // {
      resources = { diskMib = 1024; pids = 40; };
      command = ''
        head -c 2000M /dev/zero >big && exit 1
        for i in $(seq 60); do sleep 1 & done 2>&1 | grep -q fork && echo refused
        echo done
      '';
    };
    served = guest // {
      services.web = {
        command = "exec python3 -m http.server --bind 127.0.0.1 8123";
        ready = "exec 3<>/dev/tcp/127.0.0.1/8123";
      };
      command = ''
        python3 -c 'import urllib.request as u
        print(u.urlopen("http://127.0.0.1:8123/flake.nix").status)'
      '';
    };
    badly-served = guest // {
      services.web = { command = "echo broken; exit 3"; ready = "false"; };
      command = "echo never";
    };
    secret = guest // {
      secrets.TOKEN.env = "OUR_TOKEN";
      command = ''
        stat -c '%a %U' "''${PIKACI_SECRET_TOKEN%/*}" "$PIKACI_SECRET_TOKEN"
        stat -fc %T "$PIKACI_SECRET_TOKEN" /dev  # through which it came
        ! env | grep -qFf "$PIKACI_SECRET_TOKEN" || exit 3
        ! grep -aqsFf "$PIKACI_SECRET_TOKEN" /proc/[0-9]*/{environ,cmdline} || exit 4
        ls /dev/pikaci-secrets 2>/dev/null && exit 5
        wc -c <"$PIKACI_SECRET_TOKEN"
        echo "it is $(cat "$PIKACI_SECRET_TOKEN")"; base64 "$PIKACI_SECRET_TOKEN"
        for i in $(seq 20000); do echo "$i $(<"$PIKACI_SECRET_TOKEN") $i"; done | sort -R
        echo done
      '';
    };
    large = guest // {
      artifacts = { include = [ "*" ]; maxMib = 1; };
      command = ''
        cd $PIKACI_ARTIFACTS; mkdir d; echo left out >d/file
        truncate -s 8T holes; echo x >small; exit 3
      '';
    };
    quiet = guest // { silenceSecs = 2; command = "echo begins; sleep 60"; };
  };
"""


@pytest.fixture(scope="module")
def project(incus_server: IncusServer, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = make_project(tmp_path_factory.mktemp("world"), incus_server, TARGETS)
    return made.with_env(GIVEN="a word", OUR_TOKEN=TOKEN)


@pytest.fixture(scope="module")
def jobs(project: Project) -> dict[str, Json]:
    done = project.here("run", "world", "--output", "json")
    return {row["id"]: row for row in done.json["jobs"]}


def printed(project: Project, job: str) -> list[str]:
    return project.here("logs", "latest", "--job", job).passed().out.splitlines()


def test_a_guest_has_packages_variables_and_the_files_of_other_jobs(
    project: Project, jobs: dict[str, Json]
) -> None:
    assert jobs["uses-both"]["status"] == "passed", jobs["uses-both"]
    said = printed(project, "uses-both")
    assert said.count("runs") == 2
    assert sum(row.startswith("made by") for row in said) == 2
    assert said[-2:] == ["packed", "a word absent"]


def test_a_guest_has_the_environment_of_a_development_shell(
    project: Project, jobs: dict[str, Json]
) -> None:
    assert jobs["in-a-shell"]["status"] == "passed"
    assert printed(project, "in-a-shell")[-1] == "of the shell"


def test_the_page_names_every_variable_that_a_job_in_a_guest_finds(
    project: Project, jobs: dict[str, Json]
) -> None:
    assert jobs["plain-environment"]["status"] == "passed"
    files = project.run_dir() / "jobs/plain-environment/attempts/1/artifacts/files"
    rows = (files / "env").read_text().rstrip("\0").split("\0")
    assert {row.partition("=")[0] for row in rows} - listed("Incus guest") == set()


def test_a_job_on_the_host_has_the_files_of_a_guest(
    project: Project, jobs: dict[str, Json]
) -> None:
    assert jobs["here-again"]["status"] == "passed"
    assert printed(project, "here-again")[-1] == "runs"


def test_files_of_a_guest_beyond_the_limit_are_refused_by_name(
    project: Project, jobs: dict[str, Json]
) -> None:
    job = jobs["large"]
    assert job["exit_code"] == 3, printed(project, "large")
    assert [row["path"] for row in job["artifacts"]] == ["small"]
    assert "holes (it has 8796093022208 bytes, the limit of all is 1 MiB)" in job["notes"][0]


def test_a_guest_has_no_more_disk_and_processes_than_it_may(
    project: Project, jobs: dict[str, Json], incus_server: IncusServer
) -> None:
    job = jobs["small-disk"]
    assert job["execution"]["disk"] == "limited", incus_server
    assert job["status"] == "passed", printed(project, "small-disk")
    assert "refused" in printed(project, "small-disk")


def test_services_run_in_the_guest_of_their_job(project: Project, jobs: dict[str, Json]) -> None:
    assert printed(project, "served")[-1] == "200"
    log = project.here("logs", "latest", "--job", "served", "--service", "web").passed().out
    assert "GET /flake.nix" in log
    bad = jobs["badly-served"]
    assert bad["cause"]["code"] == "service_failed"
    assert bad["message"] == "service web ended with 3 before it was ready: broken"
    assert jobs["served"]["artifacts"] == bad["artifacts"] == []


def test_a_secret_is_in_memory_and_nothing_of_it_reaches_a_disk(
    project: Project, jobs: dict[str, Json]
) -> None:
    job = jobs["secret"]
    said = printed(project, "secret")
    assert job["status"] == "passed", said
    assert said[:4] == ["700 pikaci", "400 pikaci", "tmpfs", "tmpfs"]
    assert said[4:7] == [str(len(TOKEN)), "it is ***", "***"]
    assert all("***" in row for row in said[7:-1])
    assert (len(said), said[-1], job["execution"]["secrets"]) == (20008, "done", ["TOKEN"])
    found = [path for path in project.state.rglob("*") if path.is_file() and has_token(path)]
    assert found == []


def has_token(path: Path) -> bool:
    return TOKEN.encode() in path.read_bytes()


def test_a_guest_that_prints_nothing_for_too_long_is_ended(jobs: dict[str, Json]) -> None:
    job = jobs["quiet"]
    assert (job["status"], job["failure_kind"]) == ("failed", "timeout")
    assert job["message"] == "job quiet printed nothing for 2 s (`silenceSecs`)"
