"""How the runner runs a command. The guest is a directory, everything else is real; as root."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from ends import ENDS, End

if TYPE_CHECKING:
    from pathlib import Path

    from guest.guest import Guest


ROOT = {"RUN_AS_ROOT": "1"}
ANEW = "echo 1; echo 2 > /dev/stderr; echo 3 > /dev/stdout; echo 4"


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


@pytest.mark.parametrize(
    ("command", "variables", "printed"),
    [
        pytest.param(command, variables, printed, id=name)
        for name, command, variables, printed in (
            ("a broken pipe ends it", "yes | head -n 1; echo ${PIPESTATUS[0]}", {}, "y\n141\n"),
            (
                "text of any shape",
                """printf '%s|' "a'b" 'c"d'\n# a comment\nprintf '%s' '$é\\' >&2""",
                {},
                "a'b|c\"d|$é\\",
            ),
            ("no input", "cat", {}, ""),
            ("no end of line", "printf '%0100000d' 7", {}, "7".zfill(100_000)),
            ("root", "id -u; id -g; id -G; echo $HOME $USER", ROOT, "0\n0\n0\n/root root\n"),
            ("pikaci's numbers", "id -u; id -g; id -G; umask", {}, "1000\n100\n100\n0022\n"),
            ("stdout opened anew", ANEW, {}, "1\n2\n3\n4\n"),
            ("root's stdout opened anew", ANEW, ROOT, "1\n2\n3\n4\n"),
        )
    ],
)
def test_a_command_prints_as_in_any_shell(
    guest: Guest, command: str, variables: dict[str, str], printed: str
) -> None:
    assert guest.run(command, **variables)["status"] == "passed"
    assert guest.log() == printed


def test_a_long_command_comes_in_a_file(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "command").write_text("true " + "x" * 131_000 + "; echo end")
    variables: dict[str, Any] = {"GUEST_COMMAND": None, "GUEST_COMMAND_FILE": f"{tmp_path}/command"}

    assert guest.run("", **variables)["status"] == "passed"
    assert guest.log() == "end\n"


def test_a_command_that_the_kernel_finds_too_long(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "command").write_text("true " + "x" * 140_000)
    result = guest.run("", GUEST_COMMAND_FILE=str(tmp_path / "command"))

    assert result["status"] == "error"
    assert "Argument list too long" in result["message"]


def test_a_job_of_pikaci_can_write_artifacts_and_no_result_of_its_own(guest: Guest) -> None:
    forge = "echo '{}' > $PIKACI_ARTIFACTS/../result.json"
    result = guest.run(f"touch $PIKACI_ARTIFACTS/mine; {forge}; true")

    assert result["status"] == "passed"
    assert "Permission denied" in guest.log()
    assert (guest.artifacts / "files" / "mine").stat().st_uid == 1000
    assert guest.artifacts.stat().st_uid == 0


def test_the_user_has_no_power_left_and_no_signal_is_ignored(guest: Guest) -> None:
    guest.run(
        "grep -E 'Cap(Eff|Prm)|SigIgn|SigBlk' /proc/self/status", setup="trap '' HUP INT QUIT USR1"
    )

    assert len(guest.log().splitlines()) == 4
    # Whoever glibc spawned may ignore the two signals that are its own, and nobody can change it.
    of_glibc = 0b11 << 31
    assert all(int(line.split()[1], 16) & ~of_glibc == 0 for line in guest.log().splitlines())


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


def test_an_environment_may_come_in_a_file_and_lies_over_the_guests_own(
    guest: Guest, tmp_path: Path
) -> None:
    guest.environment(A="guest", B="guest")
    env = {"B": "b" * 100_000, "C": "c" * 100_000}
    (tmp_path / "env.json").write_text(json.dumps(env))
    guest.run("echo $A ${#B} ${#C}", ENV_FILE=str(tmp_path / "env.json"))

    assert guest.log() == "guest 100000 100000\n"


def test_bytes_that_are_no_text_pass_both_ways(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "command").write_bytes(b"printf '\xff\xe9'; printf '\\377\\376\\0'; printf %s $ODD")
    odd = json.dumps({"ODD": "\udcff"})
    guest.run("", GUEST_COMMAND_FILE=str(tmp_path / "command"), ENV=odd)

    assert (guest.artifacts / "guest.log").read_bytes() == b"\xff\xe9\xff\xfe\0\xff"


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
    execute = guest.execute_in_a_user_namespace if in_user_namespace else guest.execute
    execute(guest.variables(forge))
    result = guest.result()

    assert (result["status"], result["exit_code"]) == ("failed", 3)
    assert (guest.artifacts / "guest.log").read_text().endswith("told\n")
    assert (guest.artifacts / "files" / "file").read_text() == "kept\n"
