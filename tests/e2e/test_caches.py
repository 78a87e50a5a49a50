"""Directories that jobs find again as earlier ones left them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.project import Project

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.project import Json

TARGETS = """
  build.jobs.compile = {
    caches.deps = { path = "~/.deps"; key = [ "*.lock" ]; };
    command = ''
      cd ~/.deps
      echo found: $(cat list 2>/dev/null | tr '\\n' ' ')
      cat "$OLDPWD/step" >>list
      case $(cat "$OLDPWD/step") in
        remove) rm -r old; mkdir new ;;
        fail) exit 3 ;;
        *) mkdir -p old/inner; echo x >old/inner/file; ln -sf file old/inner/link ;;
      esac
    '';
  };
  both.jobs =
    let
      own = word: {
        caches.own = { path = "~/own"; scope = "target"; };
        command = "sleep 0.5; echo ${word} >>~/own/list; cat ~/own/list";
      };
    in
    {
      a = own "a";
      b = own "b";
      large = {
        caches.big = { path = "~/big"; sizeMib = 1; };
        command = "head -c 3M /dev/urandom >~/big/file";
      };
    };
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.committed(tmp_path, TARGETS)
    made.write("Cargo.lock", "one")
    return made


def compiled(project: Project, step: str, *args: str) -> tuple[Json, str]:
    """What the record says of the cache, and what the job found in it."""
    project.write("step", f"{step}\n")
    done = project.here("run", "build", "--output", "json", *args)
    (job,) = done.json["jobs"]
    (found,) = (line for line in project.log("compile").splitlines() if line.startswith("found:"))
    used: Json = job["execution"].get("caches", {}).get("deps", {})
    return used, found.removeprefix("found: ").strip()


def test_a_job_finds_what_the_last_one_that_passed_left(project: Project) -> None:
    used, found = compiled(project, "first")
    assert (used["restored"], used["published"], found) == ("new", True, "found:")
    used, found = compiled(project, "second")
    assert (used["restored"], used["published"], found) == ("exact", True, "first")
    used, found = compiled(project, "fail")
    assert (used["restored"], used["published"], found) == ("exact", False, "first second")
    used, found = compiled(project, "remove")
    assert found == "first second"
    home = project.state.with_name("home")
    assert list((home / ".deps").iterdir()) == []
    data = max((project.state / "caches").glob("*/deps/*/data"))
    assert sorted(path.name for path in data.iterdir()) == ["list", "new"]


def test_another_key_begins_with_the_newest_entry(project: Project) -> None:
    compiled(project, "first")
    project.write("Cargo.lock", "two")
    used, found = compiled(project, "second")
    assert (used["restored"], used["published"], found) == ("nearest", True, "first")
    project.write("Cargo.lock", "one")
    for step, before in (
        ("third", "first"),
        ("fourth", "first third"),
        ("fifth", "first third fourth"),
    ):
        used, found = compiled(project, step)
        assert (used["restored"], found) == ("exact", before)
    project.write("Cargo.lock", "two")
    used, found = compiled(project, "last")
    assert (used["restored"], found) == ("exact", "first second")
    rows = project.here("cache", "list", "--json").passed().json
    # One for each key, and the one that the last job began with.
    assert (len({row["key"] for row in rows}), len(rows)) == (2, 3)


def test_without_caches_a_job_finds_nothing_and_publishes_nothing(project: Project) -> None:
    compiled(project, "first")
    (project.state.with_name("home") / ".deps").mkdir(exist_ok=True)
    assert compiled(project, "second", "--no-cache") == ({}, "found:")
    (project.state.with_name("home") / ".deps/list").unlink()
    used, found = compiled(project, "second", "--cache", "read")
    assert (used["restored"], used["published"], found) == ("exact", False, "first")


def test_jobs_at_once_have_views_of_their_own_and_the_last_one_wins(project: Project) -> None:
    record = project.run("both")
    assert [project.log(job, record["run_id"]).count("list") for job in ("a", "b")] == [0, 0]
    for job in ("a", "b"):
        assert set("ab") & set(project.log(job, record["run_id"]).splitlines()) == {job}
    rows = project.here("cache", "list", "--json").passed().json
    assert {row["name"] for row in rows} == {"own"}
    assert len(rows) == 1
    jobs = {job["id"]: job for job in record["jobs"]}
    (note,) = jobs["large"]["notes"]
    assert note == "cache big is not kept: it has 3 MiB, more than 1 (`sizeMib`)"


def test_caches_are_listed_and_cleared(project: Project) -> None:
    assert project.here("cache", "list").passed().err == "there are no caches\n"
    compiled(project, "first")
    head, row = project.here("cache", "list").passed().out.splitlines()
    assert head.split() == ["CACHE", "SCOPE", "KEY", "MIB", "MADE", "RUN"]
    assert row.split()[:2] == ["deps", "all"]
    assert "did you mean `deps`" in project.here("cache", "clear", "dep").refused()
    assert project.here("cache", "clear", "deps").passed().out == "removed 1 entries\n"
    assert project.here("cache", "list").passed().out == ""


def test_gc_removes_what_no_job_had_for_long(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled(project, "first")
    assert "cache" not in project.here("gc").passed().out
    monkeypatch.setattr("jerichoci.machine.cache_store.UNUSED_SECS", -1.0)
    assert project.here("gc").passed().out.endswith("removed an entry of the cache deps\n")
