"""What of the output of jobs and prepares people see, and how it reaches a screen."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, wait_for
from privilege import only_root_can

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TARGETS = """
  prepared = {
    prepare.made = { hostCommand = { command = "echo boom; exit 1"; outputs = [ "y" ]; }; };
    prepare.built.drv = build "built" "echo bang; exit 1";
    jobs.a = { needs = [ "made" ]; command = "true"; };
    jobs.b = { needs = [ "made" "built" ]; command = "true"; };
  };
  progress.jobs.it.command = ''
    echo assertion failed in foo.c:12; for i in $(seq 40); do printf "\\r%3d%%" $i; done; exit 3
  '';
  endless.jobs.it.command = ''
    echo Fatal Python error: Segmentation fault; seq 1000; exit 3
  '';
  several.jobs = {
    one.command = "echo from-one; exit 3";
    two = { command = "printf from-two; sleep 60"; timeoutSecs = 1; };
    three.command = "true";
  };
  wild.jobs.it.command = ''
    printf '\\033]0;a title\\007the reason\\n\\033c\\033[?1049h\\033[2J\\n\\033[31mred\\033[0m\\n'
    printf '\\033]0;never ended\\nnot swallowed\\n\\b\\016\\0\\233more\\n'; exit 3
  '';
  cut.jobs = { a.command = "printf from-a; exit 3"; b.command = "printf from-b"; };
  names.jobs.it.command = "touch \\"$PIKACI_ARTIFACTS/$(printf 'a\\\\033[2J\\\\nb')\\"";
  odd = let e = builtins.fromJSON ''"\\u001b"''; in {
    description = "a ${e}[2J\\nb\\n";
    jobs.it.command = builtins.trace "said ${e}c" "exit 1 # ${e}c";
  };
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NO_COLOR", raising=False)
        yield Project.committed(tmp_path_factory.mktemp("project"), TARGETS)


@pytest.mark.parametrize("flags", [(), ("-L",)])
def test_what_a_failed_prepare_printed_is_shown_once_under_its_id(
    project: Project, flags: tuple[str, ...]
) -> None:
    done = project.here("run", "prepared", *flags)
    assert done.code == 1
    said = done.err.splitlines()
    assert [line for line in said if line.endswith("> boom")] == ["made> boom"]
    assert [line for line in said if line.endswith("> bang")] == ["built> bang"]
    with project.on_terminal("run", "prepared", *flags) as screen:
        assert screen.wait() == 1
    end = screen.text if flags else screen.text[screen.text.index("prepare made") :]
    assert "made> boom" in end
    assert "a> " not in screen.text
    assert "built> bang" in screen.text


WAITS = """
  waits = {
    prepare.made = {
      hostCommand.command = "echo begun; @wait@; touch y";
      hostCommand.outputs = [ "y" ];
    };
    prepare.built.drv = build "built" "echo begun; @wait@; echo > $out";
    jobs.a = { needs = [ "made" "built" ]; command = "echo 'made> from-job'"; };
  };
"""


@pytest.mark.parametrize("on_terminal", [False, True])
def test_what_prepares_print_is_shown_as_it_comes(tmp_path: Path, *, on_terminal: bool) -> None:
    only_root_can("have a Nix that builds as itself")
    go, told = tmp_path / "go", tmp_path / "told"
    wait = f"until [ -e {go} ]; do sleep 0.1; done"
    project = Project.committed(tmp_path, WAITS.replace("@wait@", wait))
    if on_terminal:
        with project.on_terminal("run", "waits", "-L") as screen:
            screen.wait_for("made> begun")
            screen.wait_for("built> begun")
            go.touch()
            assert screen.wait() == 0
            text = screen.text
    else:
        with told.open("wb") as file:
            running = project.start("run", "waits", "-L", stderr=file)
        wait_for(lambda: told.read_text().count("> begun") == 2)
        go.touch()
        assert finish(running).code == 0
        text = told.read_text()
    shown = [line.strip() for line in text.splitlines()]
    for line in ("made> begun", "built> begun", "a> made> from-job"):
        assert shown.count(line) == 1


def test_progress_does_not_hide_what_was_said_before(project: Project) -> None:
    said = project.here("run", "progress").err.splitlines()
    assert [line for line in said if line.startswith("it> ")] == [
        "it> assertion failed in foo.c:12",
        "it>  40%",
    ]


def test_of_long_output_the_beginning_and_the_end_are_shown(project: Project) -> None:
    said = project.here("run", "endless").err.splitlines()
    shown = [line.removeprefix("it> ") for line in said if line.startswith("it> ")]
    assert shown[:2] == ["Fatal Python error: Segmentation fault", "1"]
    assert shown[5:7] == ["... 976 lines ...", "981"]
    assert shown[-1] == "1000"


@pytest.mark.parametrize("flags", [(), ("-L",), ("--output", "json")])
def test_every_failed_job_is_named_at_the_end_with_its_log(
    project: Project, flags: tuple[str, ...]
) -> None:
    done = project.here("run", "several", *flags)
    assert done.code == 1
    run_id = project.run_ids()[-1]
    end = done.err[done.err.index("pikaci: record ") :]
    one, two = (
        next(line for line in end.splitlines() if f"job {name}" in line) for name in ("one", "two")
    )
    assert one.endswith(f"exited with 3; log: pikaci logs {run_id} --job one")
    assert two.endswith(f"timed out after 1 s (`timeoutSecs`); log: pikaci logs {run_id} --job two")
    assert "--job three" not in end


def test_each_command_that_is_named_at_the_end_works_as_it_is(project: Project) -> None:
    records = project.state.with_name("other place")
    flags = ("--state-root", str(records), "--keep", "on-failure")
    for target, count in (("several", 6), ("endless", 4)):
        end = project.here("run", target, *flags).err.splitlines()
        said = [line.partition(": pikaci ")[2] for line in end if ": pikaci " in line]
        assert len(said) == count
        for words in map(shlex.split, said):
            done = project.here(*words, *(["--", "true"] if words[0] == "shell" else []))
            assert done.code == (1 if words[0] in {"run", "rerun"} else 0), done
    usual = project.here("run", "endless").err
    assert "--state-root" not in usual
    elsewhere = project.at(project.root.parent).here("run", "endless", "--flake", "repo").err
    assert "--state-root" not in elsewhere


@pytest.mark.parametrize("flags", [(), ("-L",)])
@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_a_screen_gets_text_and_at_most_colours(
    project: Project, flags: tuple[str, ...], environment: dict[str, str]
) -> None:
    project = project.with_env(**environment)
    with project.on_terminal("run", "wild", *flags) as screen:
        assert screen.wait() == 1
    shown = [line for line in screen.raw.replace("\x1b[2K", "").splitlines() if "it> " in line]
    text = "\n".join(shown)
    assert "it> the reason" in text
    assert "it> not swallowed" in text
    assert ("\x1b[31mred" in text) is (not environment)
    assert not re.search(r"\x1b(?!\[[0-9;]*m)|[\x00\x07\x08\x0e]", text)
    assert "\x1b[?1049h" not in screen.raw
    assert "\x1bc" not in screen.raw


def test_elsewhere_there_are_no_escapes_and_logs_have_all_bytes(project: Project) -> None:
    for flags in ((), ("-L",)):
        done = project.here("run", "wild", *flags)
        assert "it> the reason" in done.err.splitlines()
        assert "it> red" in done.err.splitlines()
        assert "\x1b" not in done.err
    running = project.start("logs", "latest")
    out, _ = running.communicate(timeout=60)
    assert b"\x1b]0;a title\x07the reason\n\x1bc\x1b[?1049h\x1b[2J\n" in out
    assert b"\b\x0e\0\x9bmore\n" in out


def test_logs_on_a_terminal_are_text_and_colours(project: Project) -> None:
    project.here("run", "wild")
    for flags in ((), ("--follow",)):
        with project.on_terminal("logs", "latest", *flags) as screen:
            assert screen.wait() == 0
        assert "the reason\r\n" in screen.raw
        assert "\x1b[31mred\x1b[0m" in screen.raw
        assert not re.search(r"\x1b(?!\[[0-9;]*m)|[\x00\x07\x08\x0e]", screen.raw)


def test_a_last_line_without_an_end_is_no_other_jobs(project: Project) -> None:
    for shown in (project.here("run", "cut", "-L").err, project.here("run", "cut").err):
        assert "a> from-a" in shown.splitlines()
    plain = project.here("logs", "latest").out.splitlines()
    assert {"from-a", "from-b"} <= set(plain)
    followed = project.here("logs", "latest", "--follow").out.splitlines()
    assert {"a> from-a", "b> from-b"} <= set(followed)
    assert "from-a\npikaci> " in project.log("a")
    for job in "ab":
        directory = project.run_dir() / "jobs" / job / "attempts/1"
        (directory / "guest.log").write_text(f"guest-of-{job}")
    out = project.here("logs", "latest").out
    assert "guest-of-a\n==> b <==\n" in out
    assert out.endswith("\nguest-of-b")
    followed = project.here("logs", "latest", "-f").out.splitlines()
    assert {"a> guest-of-a", "b> guest-of-b"} <= set(followed)


def test_names_and_texts_of_others_are_shown_on_one_line(project: Project) -> None:
    project.run("names")
    lines = project.here("status", "latest").passed().out.splitlines()
    assert lines[-1].endswith("/a\\x1b[2J\\nb")
    for command in (("targets",), ("plan", "odd")):
        assert "a \\x1b[2J\\nb\n" in project.here(*command).passed().out
    assert project.here("plan", "odd").err == "trace: said \n"
    with project.on_terminal("run", "odd") as screen:
        assert screen.wait() == 1
    assert "odd  a \\x1b[2J\\nb" in screen.text
    assert "\x1bc" not in screen.raw
