"""Tart's answers are read, and an invalid one is an error with what tart printed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

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
    last_stderr_lines,
    list_vms,
    parse_os,
    run_argv,
    set_argv,
)
from tart_answers import described, ended, listed, missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.machine.process import Completed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("Name"), inner),
)
INVALID: list[str | bytes] = ["", "Source Name\nlocal x\n", "{", "[{}]", "[[]]", "null", "1", "{}"]
INVALID += [b"\xff", b"[" * 100_000, b"9" * 10_000, b"[\x00]"]


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


def test_every_share_is_one_word() -> None:
    shares = ["a:/with space:ro", "b:-/x:ro"]
    assert run_argv("vm", shares)[-2:] == ["--dir=a:/with space:ro", "--dir=b:-/x:ro"]


def test_an_exit_code_that_is_fine_is_no_error() -> None:
    done = ended(stderr=missing("vm"), exit_code=NOT_THERE)
    assert checked(done, NOT_THERE) is done


@pytest.mark.parametrize(
    ("stderr", "exit_code", "fine", "sentence"),
    [
        ("a\nno\n\n  space left \non device\n", 1, (), r"\(exit code 1\):  space left on device$"),
        (missing("vm"), 2, (), r'\(exit code 2\): the specified VM "vm" does not exist$'),
        ("", 1, (NOT_THERE,), "it gave no reason$"),
        ("", 137, (NOT_THERE,), r"\(exit code 137\): it gave no reason$"),
    ],
)
def test_an_error_names_the_command_and_has_what_tart_printed(
    stderr: str, exit_code: int, fine: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(TartError, match=f"^`tart do it all` failed .*{sentence}"):
        checked(ended("out", stderr, exit_code), *fine)


def vms_of(done: Completed) -> list[Vm]:
    async def run(_argv: Sequence[str], _deadline_secs: float) -> Completed:
        return done

    return asyncio.run(list_vms(run))


@given(st.binary())
def test_whatever_was_printed_is_quoted_in_one_line(stderr: bytes) -> None:
    assert len(last_stderr_lines(ended(stderr=stderr)).splitlines()) == 1


def test_the_vms_and_which_of_them_run_are_read() -> None:
    found = vms_of(ended(listed("sequoia", running=["pikaci.x", "a/b"])))
    assert [(vm.name, vm.is_running) for vm in found] == [
        ("sequoia", False),
        ("pikaci.x", True),
        ("a/b", True),
    ]
    assert vms_of(ended("[\n\n]\n")) == []


@pytest.mark.parametrize("system", [MACOS, "linux"])
def test_the_system_of_a_vm_is_read(system: str) -> None:
    assert parse_os(ended(described(system))) == system


def test_the_output_of_a_failed_command_is_not_read() -> None:
    with pytest.raises(TartError, match="locked"):
        vms_of(ended(listed("a"), "locked", 1))
    with pytest.raises(TartError, match="does not exist"):
        parse_os(ended(described(), missing("vm"), NOT_THERE))


@pytest.mark.parametrize("stdout", [*INVALID, '""', '{"Name": "x"}', '[{"Name": "x"}]'])
def test_an_invalid_list_is_refused_with_the_version_that_is_needed(stdout: str | bytes) -> None:
    with pytest.raises(TartError, match=r"the output of `tart do it` is invalid; .* of 2025"):
        vms_of(ended(stdout))


@pytest.mark.parametrize("stdout", [*INVALID, '"OS"', '["OS"]'])
def test_a_description_without_a_system_is_refused(stdout: str | bytes) -> None:
    with pytest.raises(TartError, match="is invalid"):
        parse_os(ended(stdout))


@given(JSON)
def test_every_answer_is_a_list_of_vms_or_an_error(values: object) -> None:
    done = ended(json.dumps(values))
    try:
        found = vms_of(done)
    except TartError:
        return
    assert isinstance(values, list)
    assert [type(vm) for vm in found] == [Vm] * len(values)
