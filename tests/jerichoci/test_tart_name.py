"""A VM's name says whose it is, and nobody else's name says that."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.runtime.tart.name import VmName, owner_part, parse_name
from jerichoci.state.ids import ID_PATTERN, RUN_ID_PATTERN
from plans import RUN_ID

OWNER = "0123456789ab"
NAME = f"pikaci.{OWNER}.{RUN_ID}.greet.1"
owners = st.uuids().map(str).map(owner_part)
run_ids = st.from_regex(RUN_ID_PATTERN, fullmatch=True)
job_ids = st.from_regex(ID_PATTERN, fullmatch=True)
attempts = st.integers(min_value=1, max_value=1000)
vm_names = st.builds(VmName, owners, run_ids, job_ids, attempts)
close = st.lists(st.sampled_from([*NAME.split("."), ".", "0", "\n", "٣", "A"]), max_size=9)


def test_a_name_has_the_parts_in_this_order() -> None:
    assert str(VmName(OWNER, RUN_ID, "greet", 1)) == NAME


@given(vm_names)
def test_every_name_is_read_back(name: VmName) -> None:
    assert parse_name(str(name)) == name


@given(vm_names)
def test_a_name_is_a_local_one_and_fits_into_a_directory(name: VmName) -> None:
    text = str(name)
    assert "/" not in text
    assert not text.startswith("-")
    assert len(text.encode()) <= 255


@given(vm_names, vm_names)
def test_two_attempts_never_have_one_name(first: VmName, second: VmName) -> None:
    assert (str(first) == str(second)) == (first == second)


@given(st.text() | close.map(".".join) | close.map("".join))
def test_the_name_of_anybody_elses_vm_is_no_jobs(text: str) -> None:
    found = parse_name(text)
    # What would be deleted is what was listed, to the letter.
    assert found is None or str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sequoia",
        "ghcr.io/cirruslabs/macos-sequoia-base:latest",
        f"pikaci.{OWNER}",
        f"pikaci.{OWNER}.{RUN_ID}.greet",
        f"{NAME}.2",
        f"x{NAME}",
        f"Pikaci.{OWNER}.{RUN_ID}.greet.1",
        f"pikaci.{OWNER}.{RUN_ID}x.greet.1",
        f"pikaci.{OWNER}.latest.greet.1",
        f"pikaci.{OWNER}.{RUN_ID}.Greet.1",
        f"pikaci.{OWNER}.{RUN_ID}..1",
        f"pikaci.{OWNER}.{RUN_ID}.greet.",
        f"pikaci.{OWNER}.{RUN_ID}.greet.-1",
        f"pikaci.{OWNER}.{RUN_ID}.greet.0",
        f"pikaci.{OWNER}.{RUN_ID}.greet.01",
        f"pikaci.{OWNER}.{RUN_ID}.greet.1_0",
        f"pikaci.{OWNER}.{RUN_ID}.greet.٣",
        f"pikaci.{OWNER}.{RUN_ID}.greet.x",
        f"pikaci.{OWNER}.{RUN_ID}.greet.{'9' * 5000}",
        f" {NAME}",
        f"{NAME}\n",
    ],
)
def test_what_only_looks_alike_is_no_jobs(text: str) -> None:
    assert parse_name(text) is None


def test_the_owner_of_another_state_root_is_told_apart() -> None:
    other = parse_name(NAME.replace(OWNER, "ba9876543210"))
    assert other is not None
    assert other.owner != OWNER


def test_names_have_the_beginning_of_an_owners_id() -> None:
    assert owner_part("01234567-89ab-cdef-0123-456789abcdef") == OWNER
    assert owner_part(str(uuid.uuid4())).isalnum()
