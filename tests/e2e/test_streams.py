"""Streams that are closed, full or left, and Ctrl-C at any moment: one sentence at most."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.project import RUN_ID, Project, finish

TARGETS = """
  wide.jobs = { one.command = "true"; two.command = "seq 100000"; };
  fails.jobs.it.command = "exit 1";
  slow.jobs.it.command = "echo begun; sleep 60";
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.committed(tmp_path_factory.mktemp("project"), TARGETS)
    project.lanes("")
    project.run("wide", "--run-id", RUN_ID)
    return project


def sh(project: Project, script: str, *args: str) -> tuple[int, str]:
    """What a script said that has the command as "$@"; its exit code."""
    argv = ["bash", "-c", script, "sh", *project.argv(*args)]
    done = subprocess.run(
        argv, cwd=project.root, env=project.env(), check=False, capture_output=True, timeout=90
    )
    return done.returncode, (done.stdout + done.stderr).decode()


COMMANDS = [
    ("logs", RUN_ID),
    ("logs", RUN_ID, "--follow"),
    ("list", "--json"),
    ("status", RUN_ID),
    ("plan", "wide"),
    ("schema", "event"),
    ("--help",),
    ("run", "--help"),
]


@pytest.mark.parametrize("args", COMMANDS)
def test_a_closed_stream_is_no_fault(project: Project, args: tuple[str, ...]) -> None:
    assert sh(project, '"$@" >&-', *args) == (0, "")
    if args[-1] in {RUN_ID, "--json", "--help"}:
        assert sh(project, '"$@" <&- >&- 2>&-', *args) == (0, "")


@pytest.mark.parametrize("args", COMMANDS)
def test_a_reader_that_has_seen_enough_is_no_fault(project: Project, args: tuple[str, ...]) -> None:
    for reader in ("head -c 1 >/dev/null", "true"):
        code, said = sh(project, f'"$@" | {reader}; exit "${{PIPESTATUS[0]}}"', *args)
        assert (code, said) == (0, "")


def test_a_full_stdout_is_said(project: Project) -> None:
    code, said = sh(project, '"$@" >/dev/full', "list")
    assert (code, said) == (75, "pikaci: operating system error: No space left on device\n")


STDERR = ("2>&-", "2>/dev/full", "2> >(true)", "2>&1 | true")
ENDS = [
    (("run", "fails"), 1, STDERR),
    (("run", "fails", "-L"), 1, STDERR[:2]),
    (("run", "nothing"), 2, STDERR),
    (("run",), 2, STDERR[:2]),
    (("run", "wide", "--option", "no-such-setting", "1"), 0, STDERR[1:3]),
    (("status", "20000101"), 2, STDERR[2:]),
]


@pytest.mark.parametrize(("args", "code", "stderrs"), ENDS)
def test_a_stderr_that_takes_nothing_changes_no_end(
    project: Project, args: tuple[str, ...], code: int, stderrs: tuple[str, ...]
) -> None:
    for stderr in stderrs:
        stdout = "" if "|" in stderr else ">/dev/null"
        script = f'"$@" {stderr} {stdout}; exit "${{PIPESTATUS[0]}}"'
        assert sh(project, script, *args) == (code, ""), stderr


def test_a_current_directory_that_was_removed_is_said(project: Project) -> None:
    for args in (("run", "wide"), ("targets",), ("lanes",)):
        code, said = sh(project, 'mkdir gone && cd gone && rmdir ../gone && "$@"', *args)
        assert (code, said) == (
            2,
            "pikaci: the current directory was removed; change to another directory\n",
        )


def test_an_interrupt_while_modules_are_imported_is_a_sentence(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "click.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
    )
    path = f"{tmp_path}:{project.env()['PYTHONPATH']}"
    assert project.with_env(PYTHONPATH=path).pikaci("list").refused(130) == "pikaci: interrupted"


def test_an_interrupt_while_python_starts_is_no_traceback(project: Project) -> None:
    ends = set()
    for delay_ms in range(2, 62, 3):
        program = str(Path(sys.executable).with_name("pikaci"))
        pipe = subprocess.PIPE
        running = subprocess.Popen(
            [program, "list"], cwd=project.root, env=project.env(), stdout=pipe, stderr=pipe
        )
        time.sleep(delay_ms / 1000)
        running.send_signal(signal.SIGINT)
        ends.add((finish(running).err, running.returncode))
    sentence = "pikaci: interrupted\n"
    # Before there is a Python; while it starts, or runs; after all is done.
    assert {code for said, code in ends if said == ""} <= {-signal.SIGINT, 0}
    assert {code for said, code in ends if said} == {130}
    assert {said for said, code in ends if code == 130} == {sentence}


def test_an_interrupt_where_it_can_not_be_raised_is_not_lost(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "tomllib.py").write_text(
        "import os, signal, time, weakref\n"
        "class Thing: ...\n"
        "thing = Thing()\n"
        "ref = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))\n"
        "del thing\n"
        "time.sleep(60)\n"
    )
    path = f"{tmp_path}:{project.env()['PYTHONPATH']}"
    assert project.with_env(PYTHONPATH=path).pikaci("lanes").refused(130) == "pikaci: interrupted"


def test_an_interrupt_of_a_command_that_waits_is_a_sentence(project: Project) -> None:
    running = project.start("run", "slow", "--output", "jsonl")
    assert running.stdout
    assert any(b"job_started" in line for line in running.stdout)
    following = project.start("logs", "latest", "--follow")
    assert following.stdout
    assert following.stdout.readline()
    following.send_signal(signal.SIGINT)
    assert finish(following).refused(130) == "pikaci: interrupted"
    with project.on_terminal("logs", "latest", "-f") as screen:
        screen.wait_for("begun")
        screen.type("\x03")
        assert screen.wait() == 130
        assert screen.text.splitlines()[-1] == "pikaci: interrupted"
    running.send_signal(signal.SIGINT)
    assert finish(running).code == 130


def test_where_the_shell_ignores_interrupts_they_stay_ignored(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "click.py").write_text(
        "import os, signal, sys\nos.kill(os.getpid(), signal.SIGINT)\nsys.exit(7)\n"
    )
    path = f"{tmp_path}:{project.env()['PYTHONPATH']}"
    quiet = project.with_env(PYTHONPATH=path)
    assert sh(quiet, 'trap "" INT; exec "$@"', "list") == (7, "")
