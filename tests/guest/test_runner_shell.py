"""The shell in a guest that was kept."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from guest.guest import Guest


def test_one_command_runs_as_the_job_did(guest: Guest) -> None:
    env = json.dumps({"GREETING": "a b", "PS1": "mine> "})
    guest.environment(OF_THE_GUEST="1")
    told = "id -u; id -g; pwd; umask; env | grep -vE '^(PWD|SHLVL|_)=' | sort"
    guest.run(told, ENV=env)
    done = guest.execute(variables(guest, GUEST_COMMAND=told, ENV=env, TERM="xterm"), "--shell")

    assert (done.returncode, done.stderr) == (0, "")
    lines = guest.log().splitlines()
    assert done.stdout.splitlines() == [*lines[:4], *sorted([*lines[4:], "TERM=xterm"])]


def test_its_exit_code_is_the_shells(guest: Guest) -> None:
    for code in (0, 3, 64, 255):
        asked = variables(guest, GUEST_COMMAND=f"exit {code}")
        assert guest.execute(asked, "--shell").returncode == code


def test_it_reads_its_own_input_and_starts_nothing_else(guest: Guest) -> None:
    argv, env = guest.argv("--shell"), variables(guest, GUEST_COMMAND="cat; echo $TERM")
    done = subprocess.run(
        argv, env=env, input=b"hello\n", capture_output=True, check=False, timeout=30
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\ndumb\n", b"")
    assert list(guest.artifacts.iterdir()) == []


def test_it_may_be_root(guest: Guest) -> None:
    env = variables(guest, GUEST_COMMAND="id -u; echo $HOME", RUN_AS_ROOT="1")

    assert guest.execute(env, "--shell").stdout == "0\n/root\n"


def test_without_a_command_it_is_interactive_on_the_users_terminal(guest: Guest) -> None:
    typed = "tty; id -u; echo $TERM; echo to the terminal > /dev/tty; "
    seen = converse(guest, f"{typed}echo again > $(tty); echo error > /dev/stderr; exit 5\n")

    lines = seen.splitlines()
    assert lines[-1] == "ended with 5"
    assert "/workspace/snapshot$ " in lines[0]
    assert {"1000", "screen", "to the terminal", "again", "error"} <= set(lines)
    for trouble in ("cannot set terminal process group", "no job control", "denied"):
        assert trouble not in seen


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RUN_AS_ROOT", None, "PIKACI_INCUS_RUN_AS_ROOT is missing, not 0 or 1"),
        ("ENV", "[]", "PIKACI_INCUS_ENV is not a JSON object of strings"),
        ("GUEST_COMMAND_FILE", "/none", "GUEST_COMMAND_FILE can't be read"),
    ],
)
def test_a_wrong_variable_is_named(guest: Guest, name: str, value: str | None, said: str) -> None:
    done = guest.execute(variables(guest, **{name: value}), "--shell")

    assert done.returncode == 64
    assert said in done.stderr


def test_a_guest_without_a_workspace_has_no_shell(guest: Guest) -> None:
    (guest.snapshot / "README").unlink()
    guest.snapshot.rmdir()
    done = guest.execute(variables(guest), "--shell")

    assert done.returncode == 71
    assert done.stderr.startswith("pikaci-incus-run: the shell can't be started: ")
    assert str(guest.snapshot) in done.stderr


def variables(guest: Guest, *, TERM: str | None = None, **others: str | None) -> dict[str, str]:  # noqa: N803 - as it is called
    """Those that a shell needs; TERM has no prefix."""
    needed = {"GUEST_COMMAND": None, "TIMEOUT_SECS": None, "MOUNTS": None, **others}
    return guest.variables("", **needed) | ({"TERM": TERM} if TERM else {})


def converse(guest: Guest, typed: str) -> str:
    """What a terminal shows of a shell to which somebody types."""
    pid, terminal = pty.fork()
    if pid == 0:
        argv = guest.argv("--shell")
        os.execvpe(argv[0], argv, variables(guest, TERM="screen"))  # noqa: S606 - no shell is meant
    seen = b""
    while b"$ " not in seen:
        seen += os.read(terminal, 4096)
    os.write(terminal, typed.encode())
    try:
        while data := os.read(terminal, 4096):
            seen += data
    except OSError:  # the terminal's other end is closed
        pass
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return seen.decode().replace("\r\n", "\n") + f"\nended with {code}"
