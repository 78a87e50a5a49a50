"""Shells in guests that were kept: what they are in, how they end, and when there are none."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

import pytest

from e2e.project import Project, finish, processes, wait_for
from e2e.terminal import TerminalSession
from incus.guest_project import make_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from incus.server import IncusServer

DEFINITIONS = """
  guest = job: { runtime = "incus"; incus.role = "runner"; timeoutSecs = 60; } // job;
  ten = builtins.concatStringsSep "" (builtins.genList (_: "0123456789") 1000);
  repeat = count: builtins.concatStringsSep "" (builtins.genList (_: ten) count);
"""
TARGETS = r"""
  keeps = {
    prepare = {
      stored.drv = build "stored" "echo from the store > $out";
      placed = { drv = build "placed" "echo placed > $out"; guestPath = "/opt/placed"; };
      commanded.hostCommand = { command = "echo commanded > made"; outputs = [ "made" ]; };
    };
    jobs.it = guest {
      needs = [ "stored" "placed" "commanded" ];
      env = { STATED = "yes"; QUOTES = "a \"b\" 'c' $HOME\n"; WORD = "grün"; };
      command = "echo made > made; env -0 > env; exit 3";
    };
  };
  root.jobs.it = guest { runAsRoot = true; command = "exit 3"; };
  long.jobs.it = guest { env = { A = repeat 6; B = repeat 6; }; command = "exit 3"; };
  twice.jobs.it = guest { retries.test = 1; command = "echo $RANDOM > made; exit 3"; };
"""
SERIAL = secrets.randbelow(10**8)
RUNNERS_OWN = {"PWD", "OLDPWD", "SHLVL", "_", "TERM", "PS1"}


def defined(directory: Path, server: IncusServer) -> Project:
    project = make_project(directory, server, TARGETS)
    definitions = project.root / "targets.nix"
    definitions.write_text(definitions.read_text().replace("\nlet\n", f"\nlet\n{DEFINITIONS}", 1))
    return project


@pytest.fixture
def project(incus_server: IncusServer, tmp_path: Path) -> Project:
    return defined(tmp_path, incus_server)


@pytest.fixture(scope="module")
def kept(incus_server: IncusServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose job `it` failed, and whose guest was kept: tests share it."""
    project = defined(tmp_path_factory.mktemp("kept"), incus_server)
    assert project.here("run", "keeps", "--keep", "on-failure").code == 1
    incus_server.lasting.add(guest_of(project))
    yield project
    incus_server.lasting.clear()
    incus_server.remove_instances()


def on_terminal(project: Project, *args: str) -> TerminalSession:
    return TerminalSession(
        project.argv("shell", "latest", "it", *args), project.root, project.env()
    )


def shell(
    project: Project, *command: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        project.argv("shell", "latest", "it", *(("--", *command) if command else ())),
        cwd=project.root,
        env=project.env(),
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )


def guest_of(project: Project) -> str:
    name: str = project.record()["jobs"][0]["execution"]["instance"]
    return name


def runs(command: str) -> bool:
    """Whether a command runs in a guest, whose processes this machine has, too."""
    return any(line.partition(" ")[2].startswith(command) for line in processes(command))


def note_of(project: Project) -> Path:
    return project.state / "elsewhere" / "incus" / f"{guest_of(project)}.json"


def test_a_shell_on_a_terminal_is_where_the_job_was(kept: Project) -> None:
    with on_terminal(kept) as screen:
        screen.wait_for("it$ ")
        screen.type(
            "id -un; pwd; tty; stty size; cat made README; echo $((40 + 2)) $STATED $TERM\n"
        )
        screen.wait_for("42 yes xterm")
        screen.type(
            "cat $PIKACI_INPUT_STORED $PIKACI_INPUT_PLACED $PIKACI_INPUT_COMMANDED/made; exit 5\n"
        )
        assert screen.wait() == 5
        shown = screen.text.splitlines()
    assert {"pikaci", "/workspace/snapshot", "40 200", "made", "hello"} <= set(shown)
    assert {"from the store", "placed", "commanded"} <= set(shown)
    assert any(line.startswith("/dev/pts/") for line in shown)


def test_the_window_s_size_is_followed(kept: Project) -> None:
    with on_terminal(kept) as screen:
        screen.wait_for("it$ ")
        fcntl.ioctl(screen._near, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        screen.type("until [ \"$(stty size)\" = '50 120' ]; do sleep 0.05; done; echo res''ized\n")
        screen.wait_for("resized")
        screen.type("exit\n")
        assert screen.wait() == 0


def test_keys_are_the_guest_s(kept: Project) -> None:
    with on_terminal(kept) as screen:
        screen.wait_for("it$ ")
        screen.type("echo wai''ting; sleep 100\n")
        screen.wait_for("waiting")
        time.sleep(0.3)  # until sleep(1) is in the foreground
        screen.type("\x03")
        screen.type("echo af''ter $?\n")
        screen.wait_for("after 130\nit$ ")  # before that, the shell doesn't read by the key
        screen.type("\x04")
        assert screen.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_as_it_was_even_after_a_signal(
    kept: Project, tmp_path: Path, number: signal.Signals
) -> None:
    command = f"stty -g > before; {sys.executable} -m pikaci shell latest it & echo $! > pid"
    script = f"set -m; {command}; fg; stty -g > after"
    env = kept.env() | {"PIKACI_SHELL_FLAKE": str(kept.root)}
    with TerminalSession(["bash", "-c", script], tmp_path, env) as screen:
        screen.wait_for("it$ ")
        os.kill(int((tmp_path / "pid").read_text()), number)
        screen.wait()
        assert "interrupted" in screen.text
    assert (tmp_path / "after").read_text() == (tmp_path / "before").read_text()


def test_commands_come_through_a_pipe(kept: Project) -> None:
    done = shell(kept, stdin=b"cat made; echo err >&2; id -un\nexit 5\n")
    assert (done.returncode, done.stdout, done.stderr) == (5, b"made\npikaci\n", b"err\n")
    assert shell(kept, stdin=b"").returncode == 0


def test_a_command_instead_of_a_shell(kept: Project) -> None:
    done = shell(kept, "sh", "-c", 'printf "%s|" "$0" "$@"; exit 7', "a b", "'$HOME'", "")
    assert (done.returncode, done.stdout) == (7, b"a b|'$HOME'||")
    done = shell(kept, "sh", "-c", "kill -TERM $$")
    assert done.returncode == 143
    done = shell(kept, "no-such-program")
    assert done.returncode == 127
    assert b"no-such-program" in done.stderr


def test_bytes_pass_as_they_are(kept: Project) -> None:
    data = bytes(range(256)) * 40_000
    done = shell(kept, "cat", stdin=data)
    assert done.stdout == data
    with (kept.root / "big").open("wb") as file:
        file.write(data)
    with (kept.root / "big").open("rb") as file:
        argv = kept.argv("shell", "latest", "it", "--", "wc", "-c")
        out = subprocess.check_output(argv, cwd=kept.root, env=kept.env(), stdin=file)
    assert int(out) == len(data)


def test_a_command_ends_whose_output_is_no_longer_read(kept: Project) -> None:
    said = f"enough-{SERIAL}-seen"
    argv = kept.argv("shell", "latest", "it", "--", "yes", said)
    with subprocess.Popen(argv, cwd=kept.root, env=kept.env(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1000)
        assert runs(f"yes {said}")
        process.stdout.close()
        process.wait(20)
    wait_for(lambda: not runs(f"yes {said}"))


def test_what_runs_in_a_shell_ends_with_a_killed_one(kept: Project) -> None:
    secs = f"600.{SERIAL}"
    process = kept.start("shell", "latest", "it", "--", "sleep", secs)
    wait_for(lambda: runs(f"sleep {secs}"))
    process.kill()
    finish(process)
    wait_for(lambda: not runs(f"sleep {secs}"))


def test_the_environment_is_the_job_s(kept: Project) -> None:
    def parse(data: bytes) -> dict[str, str]:
        rows = (row.decode().partition("=") for row in data.split(b"\0") if row)
        return {name: value for name, _, value in rows if name not in RUNNERS_OWN}

    script = r"cat env; printf '\0\0'; env -0"
    of_job, of_command = map(parse, shell(kept, "sh", "-c", script).stdout.split(b"\0\0\0"))
    assert of_job["STATED"] == "yes"
    assert of_job["WORD"] == "grün"
    assert of_job["PIKACI_INPUT_PLACED"] == "/opt/placed"
    assert of_command == of_job
    assert parse(shell(kept, stdin=b"env -0").stdout) == of_job


def test_a_long_environment_is_there_too(project: Project) -> None:
    project.here("run", "long", "--keep", "always")
    done = shell(project, "sh", "-c", "echo ${#A} ${#B}")
    assert done.stdout == b"60000 60000\n"
    with on_terminal(project) as screen:
        screen.type("echo ${#A} ${#B}; exit\n")
        assert screen.wait() == 0
        assert "60000 60000" in screen.text


def test_each_attempt_has_its_own_guest(project: Project) -> None:
    project.here("run", "twice", "--keep", "on-failure")
    first = project.pikaci("shell", "latest", "it", "--attempt", "1", "--", "cat", "made").passed()
    second = project.pikaci("shell", "latest", "it", "--attempt=2", "--", "cat", "made").passed()
    last = project.pikaci("shell", "latest", "it", "--", "cat", "made").passed()
    assert second.out == last.out != first.out
    refused = project.here("shell", "latest", "it", "--attempt", "3").refused()
    assert "no attempt 3; there are 1, 2" in refused


def test_there_is_no_shell_where_no_guest_was_kept(project: Project) -> None:
    project.here("run", "root")
    refused = project.here("shell", "latest", "it").refused()
    assert "did not keep the guest of it" in refused
    assert "--keep always" in refused


def test_there_is_no_shell_when_the_time_is_over_or_the_guest_is_gone(
    project: Project, incus_server: IncusServer
) -> None:
    assert project.here("run", "root", "--keep", "on-failure").code == 1
    assert shell(project, "id", "-u").stdout == b"0\n"  # as the job was root
    path = note_of(project)
    note = path.read_text()
    path.write_text(json.dumps(json.loads(note) | {"kept_until": time.time() - 1}))
    assert "was kept until" in project.here("shell", "latest", "it").refused()
    path.write_text(note)
    incus_server.incus("stop", "--force", guest_of(project))
    assert "is stopped; to keep another one: `" in project.here("shell", "latest", "it").refused()
    incus_server.incus("delete", guest_of(project))
    assert "is gone; to keep another one: `" in project.here("shell", "latest", "it").refused()


def test_incus_may_be_away(kept: Project, incus_server: IncusServer) -> None:
    incus_server.stop()
    try:
        assert "can't be reached" in kept.here("shell", "latest", "it").refused(75)
    finally:
        incus_server.start()
    assert shell(kept, "cat", "made").stdout == b"made\n"


def test_a_shell_ends_with_its_incus(kept: Project, incus_server: IncusServer) -> None:
    with on_terminal(kept) as screen:
        screen.wait_for("it$ ")
        os.kill(incus_server.pid, signal.SIGKILL)
        incus_server._process.wait()  # type: ignore[union-attr]
        incus_server._process = None
        try:
            assert screen.wait() == 75
            assert "pikaci: the connection to the guest broke" in screen.text
        finally:
            incus_server.start()
    assert shell(kept, "cat", "made").stdout == b"made\n"
