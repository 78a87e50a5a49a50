"""A VM's name tells which attempt it belongs to, and no other VM has such a name."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.runtime.tart.name import VmName, parse_name
from jerichoci.state.ids import ID_PATTERN, RUN_ID_PATTERN, owner_part
from plans import RUN_ID

OWNER = "0123456789ab"
NAME = f"pikaci.{OWNER}.{RUN_ID}.greet.1"
owners = st.uuids().map(str).map(owner_part)
run_ids = st.from_regex(RUN_ID_PATTERN, fullmatch=True)
job_ids = st.from_regex(ID_PATTERN, fullmatch=True)
vm_names = st.builds(VmName, owners, run_ids, job_ids, st.integers(min_value=1, max_value=1000))
close = st.lists(st.sampled_from([*NAME.split("."), ".", "0", "\n", "٣", "A"]), max_size=9)


def test_a_name_has_the_parts_in_this_order() -> None:
    assert str(VmName(OWNER, RUN_ID, "greet", 1)) == NAME
    assert owner_part("01234567-89ab-cdef-0123-456789abcdef") == OWNER
    assert owner_part(str(uuid.uuid4())).isalnum()


@given(vm_names)
def test_every_name_is_read_back_is_local_and_fits_into_a_directory(name: VmName) -> None:
    text = str(name)
    assert parse_name(text) == name
    assert "/" not in text
    assert not text.startswith("-")
    assert len(text.encode()) <= 255


@given(st.text() | close.map(".".join) | close.map("".join))
def test_a_name_that_is_read_is_the_name_that_was_listed(text: str) -> None:
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
        *(f"{NAME[:-1]}{number}" for number in ("", "-1", "0", "01", "1_0", "٣", "x", "9" * 5000)),
        f" {NAME}",
        f"{NAME}\n",
    ],
)
def test_what_only_looks_like_a_name_is_none(text: str) -> None:
    assert parse_name(text) is None
