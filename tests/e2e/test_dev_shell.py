"""A job in the environment of a development shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.project import Project

if TYPE_CHECKING:
    from e2e.project import Json

SHELL = """
  program = name: build name ''
    mkdir -p $out/bin; echo 'echo a ${name}' >$out/bin/${name}; chmod +x $out/bin/${name}
  '';
  stdenv = build "stdenv" ''
    mkdir -p $out
    cat >$out/setup <<'END'
    export PATH=/usr/bin:/bin
    for input in $buildInputs; do PATH=$input/bin:$PATH; done
    greetPhase() { echo "phase with $word and ''${list[1]} and $1"; }
    list=(zero "one two")
    export MULTI="a
    b \\$HOME 'c'"
    END
  '';
  shell = derivation {
    name = "shell";
    inherit system stdenv;
    builder = "/bin/bash";
    args = [ "-c" "echo it is never built; exit 1" ];
    buildInputs = [ (program "tool") ];
    word = "the word";
    word2 = "the shell's";
    shellHook = "echo hook in $PWD; hooked() { echo hooked; }; export HOOKED=yes";
  };
in
{
"""
TARGETS = """
  shell.jobs = {
    inside = {
      devShell = shell;
      packages = [ (program "package") ];
      env = { GIVEN = "by the job"; word2 = "mine"; };
      command = ''
        tool; package; greetPhase arg; hooked
        echo "$HOOKED $GIVEN $word2 $IN_NIX_SHELL $out"
        sh -c 'echo "$MULTI"'
        cat flake.nix >/dev/null && exit 7
      '';
    };
    outside.command = "! command -v tool && test -z $IN_NIX_SHELL";
  };
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project.committed(tmp_path_factory.mktemp("shell"), TARGETS)
    targets = made.path("targets.nix")
    targets.write_text(targets.read_text().replace("in\n{\n", SHELL, 1))
    return made


@pytest.fixture(scope="module")
def jobs(project: Project) -> dict[str, Json]:
    done = project.here("run", "shell", "--output", "json")
    return {job["id"]: job for job in done.json["jobs"]}


def test_a_job_has_programs_functions_variables_and_the_hook_of_its_shell(
    project: Project, jobs: dict[str, Json]
) -> None:
    said = project.here("logs", "latest", "--job", "inside").passed().out.splitlines()
    said = [line for line in said if ">" not in line]
    assert jobs["inside"]["exit_code"] == 7, said
    workspace = said[0].removeprefix("hook in ")
    assert said == [
        f"hook in {workspace}",
        "a tool",
        "a package",
        "phase with the word and one two and arg",
        "hooked",
        f"yes by the job mine impure {workspace}/outputs/out",
        "a",
        "b $HOME 'c'",
    ]


def test_another_job_has_nothing_of_it(jobs: dict[str, Json]) -> None:
    assert jobs["outside"]["status"] == "passed"


def test_its_environment_is_a_prepare_of_the_plan(project: Project, jobs: dict[str, Json]) -> None:
    plan = project.here("plan", "shell", "--json").passed().json
    nodes = {node["id"]: node for node in plan["nodes"]}
    shell = nodes["execute-inside"]["execute"]["dev_shell"]
    assert shell["bash"] == "/bin/bash"
    assert nodes[shell["node_id"]]["prepare"]["out_path"].endswith("-shell-env")
    assert shell["node_id"] in nodes["execute-inside"]["depends_on"]
    assert jobs["inside"]["status"] == "failed"
