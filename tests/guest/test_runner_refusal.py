"""What the runner refuses, with which exit code, and that it has then done nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from guest.guest import Guest


def test_an_unknown_contract_is_said_so(guest: Guest) -> None:
    for arguments in ([], ["--check-contract"], ["--shell"], ["--hand-over", "1:1"]):
        for version in ("2", "", "1.0", None):
            variables = guest.variables("touch $PIKACI_ARTIFACTS/ran", CONTRACT=version)
            asked = "none is named" if version is None else f"'{version}' is asked for"
            assert refused(guest, variables, *arguments) == (
                76,
                f"this runner knows contract 1, and {asked}: rebuild the image",
            )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GUEST_COMMAND", None, "PIKACI_INCUS_GUEST_COMMAND is missing"),
        ("GUEST_COMMAND_FILE", "/none", "GUEST_COMMAND_FILE can't be read: [Errno 2] No such file"),
        ("TIMEOUT_SECS", None, "TIMEOUT_SECS is '', not a number of seconds from 1 up"),
        ("TIMEOUT_SECS", "0", "TIMEOUT_SECS is '0', not"),
        ("TIMEOUT_SECS", "²", "TIMEOUT_SECS is '²', not"),
        ("TIMEOUT_SECS", "1.5", "TIMEOUT_SECS is '1.5', not"),
        ("RUN_AS_ROOT", None, "RUN_AS_ROOT is missing, not 0 or 1"),
        ("RUN_AS_ROOT", "true", "RUN_AS_ROOT is 'true', not 0 or 1"),
        ("WRITABLE_WORKSPACE", "", "WRITABLE_WORKSPACE is '', not 0 or 1"),
        ("GRACE_SECS", "nan", "GRACE_SECS is 'nan', not a number of seconds"),
        ("GRACE_SECS", "inf", "GRACE_SECS is 'inf', not a number of seconds"),
        ("GRACE_SECS", "-1", "GRACE_SECS is '-1', not a number of seconds"),
        ("STORE", "nix", "PIKACI_INCUS_STORE is 'nix', not an absolute path"),
        ("STORE", "/nix/../store", "PIKACI_INCUS_STORE is '/nix/../store', not an absolute path"),
        ("STORE", "/nix:store", "PIKACI_INCUS_STORE is '/nix:store', not an absolute path"),
        ("CACHES", "[{}]", "PIKACI_INCUS_CACHES is no list of caches: KeyError('path')"),
        ("CACHES", "x", "PIKACI_INCUS_CACHES is no list of caches: "),
        ("ENV", "{", "PIKACI_INCUS_ENV is not JSON: "),
        ("ENV", "[]", "PIKACI_INCUS_ENV is not a JSON object of strings"),
        ("ENV", '{"A": 1}', "PIKACI_INCUS_ENV is not a JSON object of strings"),
        ("ENV", '{"A=B": ""}', "PIKACI_INCUS_ENV has 'A=B', which can't be a variable"),
        ("ENV", r'{"A": "\u0000"}', "PIKACI_INCUS_ENV has 'A', which can't be a variable"),
    ],
)
def test_a_wrong_variable_is_named(guest: Guest, name: str, value: str | None, said: str) -> None:
    code, sentence = refused(guest, guest.variables("true", **{name: value}))

    assert code == 64
    assert said in sentence


def test_an_unknown_argument_is_named(guest: Guest) -> None:
    for *arguments, unknown in (
        ("--version",),
        ("--shell", "--check-contract"),
        ("--hand-over",),
    ):
        code, sentence = refused(guest, guest.variables("true"), *arguments, unknown)
        assert code == 64
        assert f"unknown argument '{unknown}'" in sentence


def test_a_ready_guest_says_so_and_starts_nothing(guest: Guest) -> None:
    variables = {"PIKACI_INCUS_CONTRACT": "1", "PIKACI_INCUS_MOUNTS": ""}
    done = guest.execute({"PATH": "/usr/bin:/bin", **variables}, "--check-contract")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"contract": 1, "state": "ready"}
    assert list(guest.artifacts.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["--check-contract"]])
def test_a_guest_without_its_mounts_is_not_ready_yet(guest: Guest, arguments: list[str]) -> None:
    variables = guest.variables("true", MOUNTS=None)
    where = f"{guest.artifacts}, {guest.snapshot}"
    assert refused(guest, variables, *arguments) == (69, f"nothing is mounted yet at {where}")


def test_a_mount_of_the_same_file_system_is_a_mount(guest: Guest) -> None:
    staged = guest.root / "staged" / "with space\u2028\u20ac"
    staged.mkdir(parents=True)
    variables = guest.variables("true", MOUNTS=str(staged))
    mount = f"mount --bind '{staged}' '{staged}'"

    assert guest.execute(variables, "--check-contract", setup=mount).returncode == 0
    assert guest.execute(variables, "--check-contract").returncode == 69


def test_a_guest_without_a_workspace_is_not_ready_yet(guest: Guest) -> None:
    (guest.snapshot / "README").unlink()
    guest.snapshot.rmdir()

    assert refused(guest, guest.variables("true")) == (69, f"{guest.snapshot} isn't there yet")


@pytest.mark.parametrize("arguments", [[], ["--check-contract"]])
def test_artifacts_that_cannot_be_written_to_are_said_so(
    guest: Guest, arguments: list[str]
) -> None:
    mount = f"""
        mount --bind {guest.artifacts} {guest.artifacts}
        mount -o remount,bind,ro {guest.artifacts}
    """
    done = guest.execute(guest.variables("true"), *arguments, setup=mount)

    assert done.returncode == 73
    assert f"{guest.artifacts} can't be written to" in done.stderr


def test_artifacts_without_room_are_said_so(guest: Guest) -> None:
    mount = f"mount -t tmpfs -o size=8k tmpfs {guest.artifacts}"
    done = guest.execute(guest.variables("true"), setup=mount)

    assert done.returncode == 73
    assert "No space left on device" in done.stderr


def test_a_guest_that_cannot_start_the_command_has_a_result_that_says_so(guest: Guest) -> None:
    guest.environment()
    (guest.root / "etc" / "pikaci" / "environment.json").write_text("{")
    result = guest.run("true")

    assert (result["status"], result["exit_code"]) == ("error", None)
    assert "environment.json is not JSON" in result["message"]


def test_a_log_that_cannot_be_opened_is_said_so_in_the_result(guest: Guest) -> None:
    (guest.artifacts / "guest.log").symlink_to("/etc/passwd")
    result = guest.run("echo hello")

    assert (result["status"], result["exit_code"]) == ("error", None)
    assert "guest.log" in result["message"]


def refused(guest: Guest, variables: dict[str, str], *arguments: str) -> tuple[int, str]:
    """The exit code and the sentence of an exec that does nothing."""
    done = guest.execute(variables, *arguments)
    (sentence,) = done.stderr.splitlines()
    assert list(guest.artifacts.iterdir()) == []
    return done.returncode, sentence.removeprefix("pikaci-incus-run: ")
