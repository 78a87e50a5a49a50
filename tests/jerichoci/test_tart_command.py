"""Tart is asked as its help says, and believed where it makes sense."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.plan.plan import Resources
from jerichoci.runtime.tart.command import (
    MACOS,
    NOT_THERE,
    TartError,
    Vm,
    checked,
    clone_argv,
    delete_argv,
    exec_argv,
    get_argv,
    last_stderr_lines,
    list_argv,
    parse_list,
    parse_os,
    run_argv,
    set_argv,
    stop_argv,
)
from tart_answers import described, ended, listed, missing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("Name"), inner),
)
NONSENSE = ["", "Source Name Disk\nlocal x 50\n", "{", "[{}]", "[[]]", "[1]", "null", "1", "\\"]


def test_only_the_users_own_vms_are_listed() -> None:
    assert list_argv() == ["tart", "list", "--source", "local", "--format", "json"]


def test_a_vm_is_described_as_json() -> None:
    assert get_argv("vm") == ["tart", "get", "vm", "--format", "json"]


def test_a_clone_names_what_it_is_made_from_first() -> None:
    base = "ghcr.io/cirruslabs/macos-sequoia-base:latest"
    assert clone_argv(base, "vm") == ["tart", "clone", base, "vm"]


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (Resources(cpus=4, memory_mib=8192), ["--cpu", "4", "--memory", "8192"]),
        (Resources(cpus=4), ["--cpu", "4"]),
        (Resources(memory_mib=8192), ["--memory", "8192"]),
    ],
)
def test_a_vm_gets_what_its_job_asks_for(resources: Resources, words: list[str]) -> None:
    assert set_argv("vm", resources) == ["tart", "set", "vm", *words]


def test_a_job_that_asks_for_nothing_has_what_the_base_has() -> None:
    assert set_argv("vm", Resources()) is None


def test_a_vm_runs_without_a_window_sound_or_the_hosts_clipboard() -> None:
    quiet = ["--no-graphics", "--no-audio", "--no-clipboard"]
    assert run_argv("vm", []) == ["tart", "run", "vm", *quiet]


def test_every_share_is_one_word() -> None:
    shares = ["a:/with space:ro", "b:-/x:ro"]
    assert run_argv("vm", shares)[-2:] == ["--dir=a:/with space:ro", "--dir=b:-/x:ro"]


def test_flags_of_exec_come_before_the_vm_for_what_follows_it_is_the_command() -> None:
    assert exec_argv("vm", ["true"]) == ["tart", "exec", "vm", "true"]
    command = ["/bin/bash", "-c", "echo -t"]
    assert exec_argv("vm", command, "-i", "-t") == ["tart", "exec", "-i", "-t", "vm", *command]


def test_stopping_says_when_force_is_used() -> None:
    assert stop_argv("vm", 10) == ["tart", "stop", "vm", "--timeout", "10"]


def test_deleting_takes_the_name() -> None:
    assert delete_argv("vm") == ["tart", "delete", "vm"]


def test_what_ended_well_is_handed_on() -> None:
    done = ended("x")
    assert checked(done) is done


def test_an_exit_code_that_is_fine_is_no_error() -> None:
    done = ended(stderr=missing("vm"), exit_code=NOT_THERE)
    assert checked(done, NOT_THERE) is done


@pytest.mark.parametrize("exit_code", [1, 64, 137])
def test_any_other_exit_code_is(exit_code: int) -> None:
    with pytest.raises(TartError):
        checked(ended(exit_code=exit_code), NOT_THERE)


def test_exit_code_2_is_not_fine_for_everybody() -> None:
    with pytest.raises(TartError, match=r'\(exit code 2\): the specified VM "vm" does not exist$'):
        checked(ended(stderr=missing("vm"), exit_code=NOT_THERE))


def test_an_error_says_what_was_asked_and_what_tart_said() -> None:
    done = ended("out", "a\nno\n\n  space left \non device\n", 1)
    with pytest.raises(TartError) as caught:
        checked(done)
    message = "`tart do it all` failed (exit code 1):  space left on device"
    assert caught.value.message == message


def test_a_command_that_says_nothing_is_not_quoted() -> None:
    with pytest.raises(TartError, match="it gave no reason"):
        checked(ended(exit_code=1))


@given(st.binary())
def test_whatever_is_said_is_one_line(stderr: bytes) -> None:
    assert len(last_stderr_lines(ended(stderr=stderr)).splitlines()) == 1


def test_the_vms_and_which_of_them_run_are_read() -> None:
    found = parse_list(ended(listed("sequoia", running=["pikaci.x", "a/b"])))
    assert found == [Vm("sequoia", False), Vm("pikaci.x", True), Vm("a/b", True)]  # noqa: FBT003 - as tart has it


def test_a_mac_may_have_no_vms() -> None:
    assert parse_list(ended("[\n\n]\n")) == []


@pytest.mark.parametrize("system", [MACOS, "linux"])
def test_the_system_of_a_vm_is_read(system: str) -> None:
    assert parse_os(ended(described(system))) == system


def test_a_list_that_failed_is_not_read() -> None:
    with pytest.raises(TartError, match="locked"):
        parse_list(ended(listed("a"), "locked", 1))


def test_a_vm_that_is_gone_has_no_system() -> None:
    with pytest.raises(TartError, match="does not exist"):
        parse_os(ended(stderr=missing("vm"), exit_code=NOT_THERE))


@pytest.mark.parametrize("stdout", [*NONSENSE, '""', "{}", '{"Name": "x"}', '[{"Name": "x"}]'])
def test_a_list_that_is_none_is_refused_with_the_version_that_is_needed(stdout: str) -> None:
    with pytest.raises(TartError, match=r"the output of `tart do it` is invalid; .* of 2025"):
        parse_list(ended(stdout))


@pytest.mark.parametrize("stdout", [*NONSENSE, "{}", '"OS"', '["OS"]'])
def test_a_description_without_a_system_is_refused(stdout: str) -> None:
    with pytest.raises(TartError, match="is invalid"):
        parse_os(ended(stdout))


@pytest.mark.parametrize("stdout", [b"\xff", b"[" * 100_000, b"9" * 10_000, b"[\x00]"])
def test_what_no_reader_takes_is_refused(stdout: bytes) -> None:
    for parse in (parse_list, parse_os):
        with pytest.raises(TartError, match="is invalid"):
            parse(ended(stdout))


@given(JSON)
def test_no_answer_is_anything_but_vms_or_an_error(values: object) -> None:
    done = ended(json.dumps(values))
    try:
        found = parse_list(done)
    except TartError:
        return
    assert isinstance(values, list)
    assert len(found) == len(values)
