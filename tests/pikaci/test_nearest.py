from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pikaci.nearest import MAX_SUGGESTIONS, did_you_mean, nearest

TARGETS = ["hello", "check-nix", "check-orchestrator", "pre-merge-greeting"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("helo", ["hello"]),
        ("HELLO", ["hello"]),
        ("check_nix", ["check-nix"]),
        ("chek-orchestrater", ["check-orchestrator"]),
        ("merge", ["pre-merge-greeting"]),
        ("check", ["check-nix", "check-orchestrator"]),
        ("he", []),
        ("zzz", []),
        ("", []),
    ],
)
def test_a_typo_finds_the_names_it_may_be(typed: str, meant: list[str]) -> None:
    assert nearest(typed, TARGETS) == meant


@pytest.mark.parametrize(
    ("typed", "question"),
    [
        ("helo", "did you mean `hello`?"),
        ("check", "did you mean `check-nix` or `check-orchestrator`?"),
        ("zzz", None),
    ],
)
def test_the_names_are_put_as_a_question(typed: str, question: str | None) -> None:
    assert did_you_mean(typed, TARGETS) == question


def test_three_names_are_a_list() -> None:
    assert did_you_mean("ab", ["abc", "abd", "abe", "abf"]) == "did you mean `abc`, `abd` or `abe`?"


@given(st.text(), st.lists(st.text()))
def test_suggestions_are_few_and_from_the_candidates(name: str, candidates: list[str]) -> None:
    found = nearest(name, candidates)
    assert len(found) <= MAX_SUGGESTIONS
    assert set(found) <= set(candidates)


@given(st.text(min_size=1), st.lists(st.text()))
def test_a_name_itself_comes_first(name: str, candidates: list[str]) -> None:
    assert nearest(name, [*candidates, name])[0].casefold() == name.casefold()
