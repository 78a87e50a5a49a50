"""Host commands that say what they are made of, and are done again only when that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.project import Project

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = """
  deps = {
    prepare.made.hostCommand = {
      inputs = [ "requirements/**" "*.lock" ];
      outputs = [ "site/all" "site/link" ];
      command = ''
        echo x >>@count@
        @extra@
        mkdir site
        cat requirements/* >site/all
        chmod 755 site/all
        ln -s all site/link
      '';
    };
    jobs.use = {
      needs = [ "made" ];
      command = ''
        cat $PIKACI_INPUT_MADE/site/link
        test -x $PIKACI_INPUT_MADE/site/all
        echo changed by a job >$PIKACI_INPUT_MADE/site/all || true
      '';
    };
  };
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.committed(tmp_path, commanded(tmp_path))
    made.write("requirements/a.txt", "click\n")
    return made


def commanded(tmp_path: Path, extra: str = "true") -> str:
    return COMMAND.replace("@count@", str(tmp_path / "count")).replace("@extra@", extra)


def made(project: Project, *args: str) -> bool:
    """Whether a run did the command, as its record and the command itself say."""
    count = project.state.with_name("count")
    before = len(count.read_text()) if count.exists() else 0
    record = project.here("run", "deps", "--output", "json", *args).passed().json
    was_done = len(count.read_text()) > before
    (timing,) = record["prepare_timings"]
    (output,) = project.here("prepared-outputs", "latest", "--json").passed().json["outputs"]
    assert timing["cached"] is output["cached"] is not was_done
    assert output["places"][0]["how"] == ("command" if was_done else "cached")
    return was_done


def test_a_command_is_done_again_when_its_files_changed_and_not_before(project: Project) -> None:
    assert made(project)
    assert not made(project)
    assert "click" in project.log("use").splitlines()
    project.write("README", "this is no input\n")
    assert not made(project)
    project.write("requirements/b.txt", "rich\n")
    assert made(project)
    assert {"click", "rich"} <= set(project.log("use").splitlines())
    (project.tree.root / "requirements/b.txt").unlink()
    assert not made(project)
    assert "prepare made passed, cached" in project.log("use")


def test_another_command_or_environment_is_another_key(project: Project) -> None:
    assert made(project)
    assert not made(project)
    project.define(commanded(project.state.parent, "echo another"))
    assert made(project)
    project.define(commanded(project.state.parent))
    assert not made(project)
    elsewhere = project.with_env(LANG="C")
    assert made(elsewhere)
    assert not made(elsewhere)


def test_what_failed_or_may_not_publish_is_not_kept(project: Project) -> None:
    project.define(commanded(project.state.parent, "exit 3"))
    for _ in range(2):
        assert project.here("run", "deps").code == 1
    assert len((project.state.with_name("count")).read_text().split()) == 2
    project.define(commanded(project.state.parent))
    assert made(project, "--cache", "read")
    assert made(project, "--no-cache")
    assert made(project)
    assert made(project, "--no-cache")
    assert not made(project, "--cache", "read")


def test_a_kept_output_that_is_damaged_is_made_again(project: Project) -> None:
    assert made(project)
    (data,) = (project.state / "caches").glob("*+prepares/made/*/data")
    data.rename(data.with_name("elsewhere"))
    data.symlink_to("nowhere")
    assert made(project)
    listed = project.here("cache", "list").passed().out
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [["made", "prepares"]]


def test_a_command_that_matches_no_file_is_always_done(project: Project) -> None:
    (project.tree.root / "requirements/a.txt").unlink()
    project.define(commanded(project.state.parent, "mkdir requirements; echo >requirements/x"))
    assert made(project)
    assert made(project)


def test_the_display_says_that_it_was_there(project: Project) -> None:
    assert made(project)
    shown = project.here("run", "deps", "--log-format", "plain").passed().err
    assert "made" in shown
    assert "cached" in shown
