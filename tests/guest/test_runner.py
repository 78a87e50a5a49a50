"""How the runner runs a command. The guest is a directory, everything else is real; as root."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from ends import ENDS, End

if TYPE_CHECKING:
    from pathlib import Path

    from guest.guest import Guest


def test_a_command_that_succeeds(guest: Guest) -> None:
    result = guest.run("cat README")

    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(moment, result.pop("started_at"))
    assert re.fullmatch(moment, result.pop("finished_at"))
    assert result == {
        "schema_version": 1,
        "status": "passed",
        "exit_code": 0,
        "signal": None,
        "message": "the command succeeded",
    }
    assert guest.log() == "hello\n"


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.command)
def test_an_end_is_the_commands_and_told_by_its_name(guest: Guest, end: End) -> None:
    result = guest.run(end.command)

    code = None if end.signal else end.exit_code
    assert (result["status"], result["exit_code"], result["signal"]) == ("failed", code, end.signal)
    words = end.words.replace("exited with", "ended with exit code")
    assert result["message"] == f"the command {words}"


def test_a_broken_pipe_ends_a_process_as_in_any_shell(guest: Guest) -> None:
    guest.run("yes | head -n 1; echo ${PIPESTATUS[0]}")

    assert guest.log() == "y\n141\n"


def test_a_command_is_text_of_any_shape(guest: Guest) -> None:
    guest.run("""printf '%s|' "a'b" 'c"d'\n# a comment\nprintf '%s' '$é\\' >&2""")

    assert guest.log() == "a'b|c\"d|$é\\"


def test_a_command_has_no_input(guest: Guest) -> None:
    assert guest.run("cat")["status"] == "passed"


def test_a_long_command_comes_in_a_file(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "command").write_text("true " + "x" * 131_000 + "; echo end")
    variables = guest.variables("", GUEST_COMMAND_FILE=str(tmp_path / "command"))
    del variables["PIKACI_INCUS_GUEST_COMMAND"]

    assert guest.execute(variables).returncode == 0
    assert guest.result()["status"] == "passed"
    assert guest.log() == "end\n"


def test_a_command_that_the_kernel_finds_too_long(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "command").write_text("true " + "x" * 140_000)
    result = guest.run("", GUEST_COMMAND_FILE=str(tmp_path / "command"))

    assert result["status"] == "error"
    assert "Argument list too long" in result["message"]


def test_the_user_is_pikaci_by_its_numbers(guest: Guest) -> None:
    guest.run("id -u; id -g; id -G; touch $PIKACI_ARTIFACTS/mine; umask")

    assert guest.log() == "1000\n100\n100\n0022\n"
    assert (guest.artifacts / "files" / "mine").stat().st_uid == 1000
    assert guest.artifacts.stat().st_uid == 0


def test_a_job_of_pikaci_can_write_no_result_of_its_own(guest: Guest) -> None:
    result = guest.run("echo '{}' > $PIKACI_ARTIFACTS/../result.json; true")

    assert result["status"] == "passed"
    assert "Permission denied" in guest.log()


def test_the_user_has_no_power_left_and_no_signal_is_ignored(guest: Guest) -> None:
    guest.run(
        "grep -E 'Cap(Eff|Prm)|SigIgn|SigBlk' /proc/self/status", setup="trap '' HUP INT QUIT USR1"
    )

    assert len(guest.log().splitlines()) == 4
    # Whoever glibc spawned may ignore the two signals that are its own, and nobody can change it.
    of_glibc = 0b11 << 31
    assert all(int(line.split()[1], 16) & ~of_glibc == 0 for line in guest.log().splitlines())


def test_a_job_may_be_root(guest: Guest) -> None:
    guest.run("id -u; id -g; id -G; echo $HOME $USER", RUN_AS_ROOT="1")

    assert guest.log() == "0\n0\n0\n/root root\n"


def test_the_environment_is_the_jobs_and_little_else(guest: Guest) -> None:
    env = {"GREETING": "a b\n'c'", "EMPTY": "", "HOME": "/elsewhere"}
    guest.run("env -0", ENV=json.dumps(env))

    found = dict(entry.split("=", 1) for entry in guest.log().split("\0") if entry)
    assert {found.pop(name) for name in ("PATH", "SHELL", "PWD", "SHLVL", "_")}
    assert found == {
        **env,
        "LANG": "C.UTF-8",
        "USER": "pikaci",
        "LOGNAME": "pikaci",
        "PIKACI_ARTIFACTS": str(guest.artifacts / "files"),
    }


def test_the_guests_own_environment_lies_below_the_jobs(guest: Guest) -> None:
    (guest.root / "etc" / "pikaci").mkdir(parents=True)
    own = {"A": "guest", "B": "guest"}
    (guest.root / "etc" / "pikaci" / "environment.json").write_text(json.dumps(own))
    guest.run("echo $A $B", ENV='{"B": "job"}')

    assert guest.log() == "guest job\n"


def test_an_environment_over_128_kib_comes_in_a_file(guest: Guest, tmp_path: Path) -> None:
    env = {"A": "a" * 100_000, "B": "b" * 100_000}
    (tmp_path / "env.json").write_text(json.dumps(env))
    guest.run("echo ${#A} ${#B}", ENV_FILE=str(tmp_path / "env.json"))

    assert guest.log() == "100000 100000\n"


def test_bytes_that_are_no_text_pass_both_ways(guest: Guest) -> None:
    guest.run(r"printf '\377\376\0'; printf %s $ODD", ENV=json.dumps({"ODD": "\udcff"}))

    assert (guest.artifacts / "guest.log").read_bytes() == b"\xff\xfe\0\xff"


@pytest.mark.parametrize("as_root", ["0", "1"])
def test_a_job_may_open_its_stdout_and_stderr_anew(guest: Guest, as_root: str) -> None:
    guest.run("echo 1; echo 2 > /dev/stderr; echo 3 > /dev/stdout; echo 4", RUN_AS_ROOT=as_root)

    assert (guest.artifacts / "guest.log").read_text() == "1\n2\n3\n4\n"


def test_a_command_may_have_bytes_that_are_no_text(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "command").write_bytes(b"printf %s '\xff\xe9'")
    guest.run("", GUEST_COMMAND_FILE=str(tmp_path / "command"))

    assert (guest.artifacts / "guest.log").read_bytes() == b"\xff\xe9"


def test_output_without_an_end_of_line_is_all_there(guest: Guest) -> None:
    guest.run("printf '%0100000d' 7")

    assert len(guest.log()) == 100_000


@pytest.mark.parametrize("in_user_namespace", [False, True])
def test_a_job_whose_user_owns_artifacts_can_write_no_result(
    guest: Guest, *, in_user_namespace: bool
) -> None:
    os.chown(guest.artifacts, 1000, 100)
    forge = (
        f"cd {guest.artifacts}; mv guest.log away; rm -f guest.log events.jsonl;"
        ' echo \'{"status": "passed"}\' > result.json;'
        " echo kept > $PIKACI_ARTIFACTS/file; echo told; exit 3"
    )
    if in_user_namespace:
        guest.execute_in_a_user_namespace(guest.variables(forge))
        result = guest.result()
    else:
        result = guest.run(forge)

    assert (result["status"], result["exit_code"]) == ("failed", 3)
    assert (guest.artifacts / "guest.log").read_text().endswith("told\n")
    assert (guest.artifacts / "files" / "file").read_text() == "kept\n"
