from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from jerichoci.errors import UsageError
from jerichoci.plan.model import Id, RunId
from jerichoci.plan.validation import adapter
from jerichoci.state.ids import (
    ID_PATTERN,
    RUN_ID_PATTERN,
    check_id,
    check_run_id,
    check_run_id_prefix,
    is_id,
    is_run_id,
    new_run_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BAD_IDS = ["", "A", "-a", "_a", "a/b", "../a", "..", "a.b", "a b", "a\n", "ä", "a" * 65, "a\0"]
BAD_RUN_IDS = [
    "",
    "latest",
    "../20260131T235959Z-0123abcd",
    "20260131T235959Z-0123abcd/..",
    "20260131T235959Z-0123abcd\n",
    "20260131T235959Z-0123ABCD",
    "20260131T235959Z-0123abc",
    "20260131T235959-0123abcd",
]


@pytest.mark.parametrize("text", ["a", "0", "a-b_c", "a" * 64])
def test_an_id_may_have_lower_case_letters_digits_dashes_and_underscores(text: str) -> None:
    assert check_id(text, "target") == text


def test_what_is_no_id_is_refused_by_name() -> None:
    for text in BAD_IDS:
        with pytest.raises(UsageError, match="is not a job id"):
            check_id(text, "job")
    for text in BAD_RUN_IDS:
        with pytest.raises(UsageError, match="is not a run id"):
            check_run_id(text)


@given(st.integers(0, 2**32), st.integers(1, 2**32), st.integers(1, 25))
def test_new_run_ids_sort_by_time_and_are_named_by_their_beginnings(
    seconds: int, later: int, length: int
) -> None:
    run_id = new_run_id(seconds)
    assert is_run_id(run_id)
    assert run_id < new_run_id(seconds + later)
    assert check_run_id_prefix(run_id[:length]) == run_id[:length]


@given(st.text())
def test_a_prefix_never_holds_what_a_path_would_follow(text: str) -> None:
    try:
        check_run_id_prefix(text)
    except UsageError:
        return
    assert not set(text) & set("./\\\0\n")


@pytest.mark.parametrize(
    ("model", "accepts", "texts"),
    [
        (adapter(Id), is_id, st.from_regex(ID_PATTERN) | st.sampled_from(BAD_IDS)),
        (
            adapter(RunId),
            is_run_id,
            st.from_regex(RUN_ID_PATTERN) | st.sampled_from(BAD_RUN_IDS),
        ),
    ],
)
@given(data=st.data())
def test_records_and_commands_agree_on_what_an_id_is(
    model: TypeAdapter[str],
    accepts: Callable[[str], bool],
    texts: st.SearchStrategy[str],
    data: st.DataObject,
) -> None:
    text = data.draw(st.text() | texts)
    try:
        model.validate_python(text)
    except ValidationError:
        assert not accepts(text)
    else:
        assert accepts(text)
