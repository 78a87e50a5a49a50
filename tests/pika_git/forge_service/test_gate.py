"""Which lanes keep a branch from being merged, and which have to run on the merge result."""

from __future__ import annotations

import pytest

from pika_git.forge_service.gate import Evidence, Judgement, judge
from pika_git.persistence.merges import Verdict


def ran(state: str, kind: str | None = None, run: int = 1) -> dict[str, Verdict]:
    return {"check": Verdict("check", "checks", state, kind, run)}


def look(
    on_head: dict[str, Verdict],
    on_result: dict[str, Verdict] | None = None,
    *,
    touched: tuple[str, ...] = (),
    runnable: tuple[str, ...] = ("check",),
    target: str = "checks",
) -> Judgement:
    result = on_head if on_result is None else on_result
    required = {"check": "main"}
    return judge(
        Evidence(
            required=required,
            targets={"check": target},
            runnable=dict.fromkeys(runnable, "checks"),
            on_result=result,
            on_head=on_head,
            touched=frozenset(touched),
        )
    )


def test_green_on_the_very_tree_is_enough() -> None:
    assert look(ran("success")) == Judgement((), ())
    assert look({}, ran("success")) == Judgement((), ())


def test_green_on_the_head_is_enough_where_the_target_changed_nothing_that_selects_it() -> None:
    assert look(ran("success"), {}) == Judgement((), ())
    assert look(ran("success"), {}, touched=("check",)) == Judgement((), ("check",))


def test_a_lane_that_the_branch_gave_another_target_does_not_count() -> None:
    sentence = "the branch gives lane check another target: checks, not all; --force merges it"
    assert look(ran("success"), target="all") == Judgement((sentence,), ())


def test_a_lane_that_did_not_run_has_to() -> None:
    assert look({}) == Judgement((), ("check",))


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        (ran("failed", "test_failure"), "lane check failed (test_failure) in run 1"),
        (ran("skipped"), "lane check was skipped in run 1"),
        (ran("cancelled"), "lane check was cancelled in run 1"),
        (ran("queued"), "lane check is queued (run 1)"),
        (ran("running"), "lane check runs (run 1)"),
    ],
)
def test_what_is_not_green_is_named(verdict: dict[str, Verdict], sentence: str) -> None:
    assert look(verdict).refusals == (sentence,)


def test_red_on_the_head_is_red_though_the_target_brought_what_may_repair_it() -> None:
    assert look(ran("failed"), {}, touched=("check",)).refusals == ("lane check failed in run 1",)


def test_red_on_the_merge_result_is_red() -> None:
    found = look(ran("success"), ran("failed", run=2), touched=("check",))
    assert found.refusals == ("lane check failed in run 2, on the merge result",)


def test_a_cancelled_lane_of_the_merge_result_runs_again() -> None:
    found = look(ran("success"), ran("cancelled", run=2), touched=("check",))
    assert found == Judgement((), ("check",))


def test_a_lane_that_the_branch_dropped_is_missing() -> None:
    found = look({}, runnable=())
    assert found.refusals == ("main requires lane check, and the merge result has no such lane",)


def test_a_target_that_was_run_by_hand_is_no_lane_of_that_name() -> None:
    by_hand = {"check": Verdict("check", "check", "success", None, 1)}
    assert look(by_hand) == Judgement((), ("check",))
