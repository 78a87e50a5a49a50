"""What a job has on PATH and in its environment: `packages`, `passEnv`, and neither."""

from __future__ import annotations

import os
import pwd
import re
from typing import TYPE_CHECKING

import pytest

from e2e.project import REPOSITORY, Project

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Json

PAGE = REPOSITORY / "docs/job-environment.md"
TOOLS = """
  tools.jobs = {
    first = { packages = [ (tool "one") (tool "two") ]; command = "greet"; };
    second = { packages = [ (tool "two") (tool "one") ]; command = "greet"; };
    without.command = "! command -v greet";
    passed = { passEnv = [ "GIVEN" "ABSENT" ]; command = "echo $GIVEN \\${ABSENT-is absent}"; };
  };
"""
TOOL = """
  tool = word: build "tool-${word}" ''
    mkdir -p $out/bin
    printf '#!/bin/sh\\necho %s\\n' ${word} >$out/bin/greet
    chmod +x $out/bin/greet
  '';
in
{
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project.committed(tmp_path_factory.mktemp("tools"), TOOLS)
    targets = made.path("targets.nix")
    targets.write_text(targets.read_text().replace("in\n{\n", TOOL, 1))
    return made.with_env(GIVEN="a word")


@pytest.fixture(scope="module")
def record(project: Project) -> Json:
    return project.run("tools")


@pytest.mark.parametrize(("job", "said"), [("first", "one"), ("second", "two")])
def test_the_first_package_that_has_a_program_gives_it(
    project: Project, record: Json, job: str, said: str
) -> None:
    assert project.log(job, record["run_id"]).splitlines().count(said) == 1


def test_a_package_is_a_prepare_and_another_job_has_it_not(project: Project, record: Json) -> None:
    plan = project.here("plan", "tools", "--json").passed().json
    nodes = {node["id"]: node for node in plan["nodes"]}
    first = nodes["execute-first"]["execute"]["path"]
    assert [nodes[node]["prepare"]["type"] for node in first] == ["nix_build", "nix_build"]
    assert "path" not in nodes["execute-without"]["execute"]
    jobs = {job["id"]: job["status"] for job in record["jobs"]}
    assert jobs["without"] == "passed"


def test_variables_that_pass_are_recorded_without_their_values(
    project: Project, record: Json
) -> None:
    assert "a word is absent" in project.log("passed", record["run_id"])
    passed = {job["id"]: job["pass_env"] for job in record["jobs"]}["passed"]
    assert passed["ABSENT"] is None
    assert len(passed["GIVEN"]) == 64
    files = (path for path in project.run_dir(record["run_id"]).rglob("*.json"))
    assert not any("a word" in path.read_text() for path in files)


def test_another_value_has_another_digest(project: Project, record: Json) -> None:
    other = project.with_env(GIVEN="another").run("tools", "--job", "passed")
    again = project.run("tools", "--job", "passed")
    digests = [
        {job["id"]: job["pass_env"] for job in row["jobs"]}["passed"]["GIVEN"]
        for row in (record, other, again)
    ]
    assert digests[0] == digests[2] != digests[1]


def test_the_page_names_every_variable_that_a_job_on_a_host_finds(
    project: Project, tmp_path: Path
) -> None:
    plain = Project.committed(tmp_path, 'plain.jobs.j.command = "env -0 >$PIKACI_ARTIFACTS/env";')
    plain = plain.with_env(
        LANG="C.UTF-8", LC_TIME="C", LANGUAGE="en", TMPDIR=str(tmp_path), OTHER="x"
    )
    plain.run("plain")
    found = variables(plain)
    assert {"LANG", "LC_TIME", "LANGUAGE", "TMPDIR", "PIKACI_ARTIFACTS"} <= found.keys()
    assert found.keys() - listed("host process") == set()
    (block,) = re.findall(r"```\n(/run/wrappers.*?)```", PAGE.read_text(), re.DOTALL)
    home, user = found["HOME"], pwd.getpwuid(os.getuid()).pw_name
    path = [word.replace("~", home).replace("$USER", user) for word in block.split()]
    assert found["PATH"].split(":") == path
    assert project.root != plain.root


def listed(runtime: str) -> set[str]:
    """The variables that the page names for a runtime; `LC_*` stands for those that are set."""
    rows = [row.split(" | ") for row in PAGE.read_text().splitlines() if row.startswith("| ")]
    column = next(i for row in rows for i, cell in enumerate(row) if runtime in cell)
    names = {
        name
        for row in rows
        if len(row) == 3 and row[column].strip(" |") != "-"
        for name in re.findall(r"`([A-Z_]+)`", row[0])
    }
    return names | {"LC_TIME", "LC_ALL"} | {name for name in os.environ if name.startswith("NIX_")}


def variables(project: Project) -> dict[str, str]:
    (path,) = project.run_dir().glob("jobs/j/attempts/1/artifacts/files/env")
    rows = path.read_text().rstrip("\0").split("\0")
    return dict(row.split("=", 1) for row in rows)
