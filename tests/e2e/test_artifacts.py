"""Files between jobs and for people: `$PIKACI_INPUT_<JOB>`, `artifacts`, `pikaci artifacts`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Json

TARGETS = """
  files = {
    jobs.make = {
      artifacts.include = [ "bin/*" "**/*.txt" ];
      command = ''
        cd "$PIKACI_ARTIFACTS"
        mkdir -p bin deep/er
        printf '#!/bin/sh\\necho from the other job\\n' >bin/tool
        chmod 4755 bin/tool
        echo text >deep/er/a.txt
        echo left out >deep/b.log
      '';
    };
    jobs.empty.command = "true";
    jobs.use-them = {
      needs = [ "make" "empty" ];
      command = ''
        "$PIKACI_INPUT_MAKE/bin/tool"
        cat "$PIKACI_INPUT_MAKE/deep/er/a.txt"
        ls -A "$PIKACI_INPUT_EMPTY" "$PIKACI_INPUT_MAKE/deep"
        ! echo x >"$PIKACI_INPUT_MAKE/deep/er/a.txt"
        ! rm -rf "$PIKACI_INPUT_MAKE/bin"
      '';
    };
  };
  limits.jobs = {
    many = {
      artifacts.maxMib = 1;
      command = ''
        cd "$PIKACI_ARTIFACTS"
        truncate -s 8T holes
        head -c 300000 /dev/zero >a
        head -c 900000 /dev/zero >b
        echo small >c
      '';
    };
    failing = {
      artifacts.maxMib = 1;
      command = ''
        cd "$PIKACI_ARTIFACTS"
        truncate -s 2M large
        mkdir "$(printf 'odd-\\377')" && cd odd* && echo x >name
        exit 3
      '';
    };
  };
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.committed(tmp_path_factory.mktemp("artifacts"), TARGETS)


@pytest.fixture(scope="module")
def record(project: Project) -> Json:
    return project.run("files")


@pytest.fixture(scope="module")
def limited(project: Project, record: Json) -> dict[str, Json]:
    assert record["status"] == "passed"
    done = project.here("run", "limits", "--output", "json")
    return {job["id"]: job for job in done.json["jobs"]}


def test_a_job_sees_what_those_it_needs_left_and_can_not_change_it(
    project: Project, record: Json
) -> None:
    printed = project.log("use-them", record["run_id"])
    assert "from the other job\ntext\n" in printed
    assert printed.count("Read-only file system") >= 2
    assert "b.log" not in printed


def test_only_the_files_that_a_job_names_are_kept(record: Json) -> None:
    (made,) = (job for job in record["jobs"] if job["id"] == "make")
    assert [row["path"] for row in made["artifacts"]] == ["bin/tool", "deep/er/a.txt"]


def test_files_beyond_the_limit_are_refused_by_name_and_the_verdict_stays(
    limited: dict[str, Json],
) -> None:
    many = limited["many"]
    assert many["status"] == "passed"
    assert {row["path"] for row in many["artifacts"]} >= {"c"}
    assert sum(row["bytes"] for row in many["artifacts"]) <= 2**20
    (note,) = many["notes"]
    assert "holes (it has 8796093022208 bytes, the limit of all is 1 MiB)" in note
    assert limited["failing"]["exit_code"] == 3
    assert "large (it has 2097152 bytes" in limited["failing"]["notes"][0]


def test_they_are_listed_with_short_paths_and_copied(
    project: Project, record: Json, tmp_path: Path
) -> None:
    run = record["run_id"]
    listed = project.here("artifacts", run).passed().out
    assert [line.split() for line in listed.splitlines()] == [
        ["34", "make/bin/tool"],
        ["5", "make/deep/er/a.txt"],
    ]
    project.here("artifacts", run, "make", "--to", str(tmp_path / "new")).passed()
    copied = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert copied == ["new/bin/tool", "new/deep/er/a.txt"]
    rows = project.here("artifacts", run, "make", "--json").passed().json
    assert [row["path"] for row in rows] == ["bin/tool", "deep/er/a.txt"]
    assert project.here("artifacts", run, "empty").passed().err == "job empty left no files\n"


def test_what_is_in_the_way_is_not_a_place_for_a_copy(
    project: Project, record: Json, tmp_path: Path
) -> None:
    (tmp_path / "make/bin/tool").mkdir(parents=True)
    sentence = project.here("artifacts", record["run_id"], "--to", str(tmp_path)).refused()
    assert f"could not copy make/bin/tool to {tmp_path}/make/bin/tool: Is a directory" in sentence
    assert list((tmp_path / "make/bin/tool").iterdir()) == []


def test_files_whose_names_are_no_text_are_copied_under_names_that_are(
    project: Project, limited: dict[str, Json], tmp_path: Path
) -> None:
    assert "odd-\ufffd/name" in [row["path"] for row in limited["failing"]["artifacts"]]
    project.here("artifacts", "latest", "failing", "--to", str(tmp_path)).passed()
    assert (tmp_path / "odd-\ufffd/name").read_text() == "x\n"


def test_an_unknown_job_is_refused_with_a_guess(project: Project, record: Json) -> None:
    sentence = project.here("artifacts", record["run_id"], "mak").refused()
    assert "mak" in sentence
    assert "make" in sentence


def test_gc_removes_files_that_were_to_be_kept_for_some_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = 'command = "echo x >$PIKACI_ARTIFACTS/file"; artifacts.keepDays'
    made = Project.committed(
        tmp_path, f"days.jobs = {{ short = {{ {keeping} = 2; }}; long = {{ {keeping} = 4; }}; }};"
    )
    run = made.run("days")["run_id"]
    assert "artifacts" not in made.here("gc").passed().out
    now = time.time()
    monkeypatch.setattr("jerichoci.cleanup.old_artifacts.time.time", lambda: now + 3 * 24 * 3600)
    assert (
        made.here("gc", "--dry-run")
        .passed()
        .out.endswith(f"would remove the artifacts of {run}/short\n")
    )
    assert made.here("gc").passed().out.endswith(f"removed the artifacts of {run}/short\n")
    made.here("artifacts", run, "long", "--to", str(tmp_path / "to")).passed()
    gone = made.here("artifacts", run, "short", "--to", str(tmp_path / "to")).refused()
    assert "file is gone" in gone
    assert made.here("gc").passed().out.count("artifacts") == 0
