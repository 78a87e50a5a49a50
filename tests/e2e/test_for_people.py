"""What people see: progress on a terminal, plain lines elsewhere, logs, shells, help."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from e2e.project import finish, wait_for
from e2e.terminal import TerminalSession
from pikaci.cli import COMMANDS

if TYPE_CHECKING:
    from e2e.project import Project

TARGETS = """
  slow = {
    description = "Takes its time";
    prepare.dep.drv = build "dep" "echo from-builder; echo > $out";
    jobs.it = { needs = [ "dep" ]; command = "echo from-job; sleep 0.7; echo late"; };
  };
  fails.jobs.it.command = "for i in $(seq 100); do echo line-$i; done; exit 1";
  keeps.jobs.it = { command = "echo made > made; exit 1"; env.STATED = "yes"; };
  limited.jobs.it = { command = "seq 10000; sleep 60"; timeoutSecs = 2; };
  spoken = { description = "→ ✔ 日本"; jobs.it.command = "true"; };
  wide.jobs = { one.command = "true"; two.command = "true"; };
"""


@pytest.fixture
def project(project: Project) -> Project:
    project.define(TARGETS)
    project.write("file", "of the tree\n")
    return project


def on_terminal(project: Project, *args: str) -> TerminalSession:
    return TerminalSession(project.argv(*args), project.root, project.env())


def test_a_terminal_shows_progress_and_ends_with_where_the_record_is(project: Project) -> None:
    with on_terminal(project, "run", "slow") as screen:
        screen.wait_for("running it")
        screen.wait_for("it> from-job")
        assert screen.wait() == 0
        assert "\x1b[" in screen.raw
        assert "Takes its time" in screen.text
        assert "prepare dep-" in screen.text
        assert "job it passed" in screen.text
        last = screen.text.strip().splitlines()[-1]
        assert last == f"record {project.run_dir()}"


def test_interrupting_at_a_terminal_cancels_the_run(project: Project) -> None:
    project.define('  endless.jobs.it.command = "sleep 60";')
    with on_terminal(project, "run", "endless") as screen:
        screen.wait_for("running it")
        screen.type("\x03")
        assert screen.wait() == 130
        assert "cancelled" in screen.text
    assert project.record()["status"] == "cancelled"


def test_a_failure_on_a_terminal_shows_its_last_lines(project: Project) -> None:
    with on_terminal(project, "run", "fails") as screen:
        assert screen.wait() == 1
        assert "it> line-100" in screen.text
        assert "it> line-50\n" not in screen.text
        assert "pikaci rerun" in screen.text


def test_no_color_means_no_colour(project: Project) -> None:
    quiet = project.with_env(NO_COLOR="1")
    with on_terminal(quiet, "run", "wide") as screen:
        assert screen.wait() == 0
        assert "\x1b[3" not in screen.raw
        assert "\x1b[1;3" not in screen.raw


def test_elsewhere_there_is_a_plain_line_for_each_step(project: Project) -> None:
    err = project.pikaci("run", "slow").passed().err
    assert "\x1b" not in err
    lines = err.splitlines()
    assert all(line.startswith("pikaci: ") for line in lines)
    for step in ("run ", "prepare dep-", "job it started", "job it passed", "passed in"):
        assert any(line.removeprefix("pikaci: ").startswith(step) for line in lines), step
    assert "from-job" not in err


def test_print_logs_shows_what_builders_and_jobs_say(project: Project) -> None:
    err = project.pikaci("run", "slow", "-L").passed().err
    assert "from-builder" in err
    assert "it> from-job" in err.splitlines()
    assert "it> late" in err.splitlines()


def test_a_plain_failure_shows_its_last_lines_once(project: Project) -> None:
    for flags in ((), ("-L",)):
        err = project.pikaci("run", "fails", *flags).err
        assert err.count("it> line-100\n") == 1


def test_a_shell_opens_in_a_kept_workspace(project: Project) -> None:
    assert project.pikaci("run", "keeps", "--keep", "on-failure").code == 1
    with on_terminal(project, "shell", "latest", "it") as screen:
        screen.wait_for("it$")
        screen.type("echo $((40 + 2)) $STATED; cat made file; exit 5\n")
        assert screen.wait() == 5
        shown = screen.text.splitlines()
        assert {"42 yes", "made", "of the tree"} <= set(shown)


def test_a_workspace_that_was_not_kept_has_no_shell(project: Project) -> None:
    project.pikaci("run", "keeps")
    sentence = project.pikaci("shell", "latest", "it").refused(2)
    assert "did not keep the workspace" in sentence
    assert "--keep" in sentence
    assert "has no job 'other'" in project.pikaci("shell", "latest", "other").refused(2)


def test_help_is_short_and_teaches(project: Project) -> None:
    out = project.pikaci("--help").passed().out
    for command, line in COMMANDS.items():
        assert command in out
        assert line in out
    assert "pikaci run hello" in out


def test_help_says_what_is_repeatable_and_what_a_run_id_looks_like(project: Project) -> None:
    text = " ".join(project.pikaci("run", "--help").passed().out.split())
    assert "Run only this job and the jobs it needs (repeatable)." in text
    for command in ("run", "rerun"):
        text = " ".join(project.pikaci(command, "--help").passed().out.split())
        assert "--run-id ID Id of the new run, such as 20260131T235959Z-0123abcd" in text


def test_jobs_are_listed_as_people_count(project: Project) -> None:
    jobs = ["j1", "j2", "j10", "j20"]
    project.define("  many.jobs = {" + "".join(f'{job}.command = "true";' for job in jobs) + "};")
    project.run("many")
    status = project.pikaci("status", "latest").passed().out.splitlines()
    assert [line.split()[0] for line in status if line.startswith("j")] == jobs
    plan = project.pikaci("plan", "many").passed().out.splitlines()
    assert [line.split()[1] for line in plan if line.startswith("job ")] == jobs
    logs = project.pikaci("logs", "latest").passed().out.splitlines()
    assert [line.split()[1] for line in logs if line.startswith("==> ")] == jobs
    assert ",".join(jobs) in project.pikaci("targets").passed().out
    rows = project.pikaci("logs", "latest", "--metadata-json").passed().json
    assert list(dict.fromkeys(row["job_id"] for row in rows)) == jobs
    words = project.with_env(
        _PIKACI_COMPLETE="bash_complete", COMP_WORDS="pikaci logs latest --job ", COMP_CWORD="4"
    )
    assert [line.partition(",")[2] for line in words.pikaci().out.splitlines()] == jobs
    assert [job["id"] for job in project.record()["jobs"]] == jobs


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_explains_it(project: Project, command: str) -> None:
    out = project.pikaci(command, "--help").passed().out
    assert out.startswith(f"Usage: pikaci {command}")
    explanation, _, flags = out.partition("Options:")
    assert len(explanation.splitlines()) > 2
    for line in flags.splitlines():
        assert not line.rstrip().endswith(("TEXT", "INTEGER"))
    assert project.pikaci(command, "-h").passed().out == out


def test_the_version_is_said(project: Project) -> None:
    assert project.pikaci("--version").passed().out.startswith("pikaci ")


@pytest.mark.parametrize(
    ("typed", "position", "offered"),
    [
        ("pikaci ru", 1, {"run"}),
        ("pikaci re", 1, {"rerun", "reap"}),
        ("pikaci run ", 2, {"slow", "fails", "keeps", "wide", "limited", "spoken"}),
        ("pikaci run s", 2, {"slow", "spoken"}),
        ("pikaci plan w", 2, {"wide"}),
        ("pikaci run --fail", 2, {"--fail-fast"}),
        ("pikaci run slow --output j", 4, {"json", "jsonl"}),
        ("pikaci status l", 2, {"latest"}),
        ("pikaci status 2026", 2, {"20260131T235959Z-0123abcd"}),
        ("pikaci logs ", 2, {"latest", "20260131T235959Z-0123abcd"}),
        ("pikaci logs latest --job ", 4, {"one", "two"}),
        ("pikaci logs 20260131 --job t", 4, {"two"}),
        ("pikaci logs latest --job=", 3, {"one", "two"}),
        ("pikaci logs latest -f --job ", 5, {"one", "two"}),
        ("pikaci logs --job ", 3, {"one", "two"}),
        ("pikaci logs nowhere --job ", 4, set()),
        ("pikaci shell latest ", 3, {"one", "two"}),
        ("pikaci run slow --job ", 4, {"it"}),
        ("pikaci run wide --job one --job ", 6, {"one", "two"}),
        ("pikaci run nowhere --job ", 4, set()),
    ],
)
def test_the_shell_completes_commands_targets_and_runs(
    project: Project, typed: str, position: int, offered: set[str]
) -> None:
    if typed.split()[1] in {"status", "logs", "shell"}:
        project.run("wide", "--run-id", "20260131T235959Z-0123abcd")
    words = project.with_env(
        _PIKACI_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=str(position)
    )
    done = words.pikaci()
    assert done.err == ""
    rows = [line.partition(",")[2] for line in done.out.splitlines() if line]
    assert set(rows) == offered


def test_completion_is_installed_with_one_line(project: Project) -> None:
    done = project.with_env(_PIKACI_COMPLETE="bash_source").pikaci()
    assert "complete -o nosort -F" in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("args", "spared"),
    [
        (("--help",), {"asyncio", "pydantic", "rich"}),
        (("list",), {"asyncio", "pydantic", "rich"}),
        (("status", "latest"), {"asyncio", "pydantic", "rich"}),
    ],
)
def test_what_is_typed_often_starts_without_heavy_imports(
    project: Project, args: tuple[str, ...], spared: set[str]
) -> None:
    project.run("wide")
    done = project.with_env(PYTHONPROFILEIMPORTTIME="1").pikaci(*args)
    assert done.code == 0
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.err.splitlines()}
    assert "click" in imported
    assert not imported & spared


@pytest.mark.parametrize(
    ("stream", "flags"), [("stdout", ("--output", "jsonl")), ("stderr", ("-L",))]
)
def test_a_reader_that_sleeps_does_not_stop_the_run(
    project: Project, stream: str, flags: tuple[str, ...]
) -> None:
    reader, writer = full_pipe()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: writer}
    running = project.start("run", "limited", *flags, **streams)
    os.close(writer)
    wait_for(lambda: project.run_ids() and project.record()["status"] != "running")
    os.close(reader)
    assert finish(running).code == 124


@pytest.mark.parametrize("flags", [(), ("--output", "json"), ("--output", "jsonl"), ("-L",)])
@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-"])
def test_a_run_needs_neither_stdout_nor_stderr(
    project: Project, closing: str, flags: tuple[str, ...]
) -> None:
    script = f'exec "$@" {closing}'
    argv = ["sh", "-c", script, "sh", *project.argv("run", "slow", *flags)]
    assert subprocess.run(argv, cwd=project.root, env=project.env(), check=False).returncode == 0
    assert project.record()["status"] == "passed"
    assert project.events()[-1]["event"] == "run_finished"


def test_json_is_utf_8_in_any_locale(project: Project) -> None:
    for encoding in ("latin-1", "ascii:strict"):
        odd = project.with_env(PYTHONIOENCODING=encoding)
        assert odd.run("spoken")["target_description"] == "→ ✔ 日本"
        events = odd.pikaci("run", "spoken", "--output", "jsonl").passed().lines
        assert events == project.events()


def full_pipe() -> tuple[int, int]:
    """A pipe that nothing more goes into: its reading and its writing end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    return reader, writer
