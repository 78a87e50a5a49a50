from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.plan.plan import NixBuild, Plan
from jerichoci.record.event import EventBase, JobFinished, JobStarted
from jerichoci.record.record import Tool
from jerichoci.record.store import RunStore
from jerichoci.run.request import RunRequest, Source
from jerichoci.state.layout import StateLayout
from jerichoci.status import Status
from pikaci.estimate import MOST_BYTES, NEWEST_RUNS, Estimates, with_estimates
from pikaci.estimate_schedule import Step, finish_times, merged
from pikaci.render.eta import AFTER_SECS, Eta
from pikaci.render.progress import Progress
from plans import RUN_ID, built, job, plan
from records import change, finished, run_ids, writing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DAY = "2026-01-01T00:00:"
CPUS = 2


def step(name: str, ms: int | None, *needs: str, cpus: int = 1) -> Step:
    return Step(("", name), frozenset(("", need) for need in needs), ms, cpus)


def ends(*steps: Step, most: int | None = None) -> dict[str, int | None]:
    return {name: end for (_, name), end in finish_times(steps, CPUS, most).items()}


def test_steps_that_need_each_other_come_one_after_the_other() -> None:
    assert ends(step("b", 20, "a"), step("a", 10)) == {"a": 10, "b": 30}


def test_steps_wait_for_cpus_in_their_order() -> None:
    three = step("a", 10), step("b", 20), step("c", 5)
    assert ends(*three) == {"a": 10, "c": 15, "b": 20}
    assert ends(*three, most=1) == {"a": 10, "b": 30, "c": 35}
    greedy = step("a", 10, cpus=64), step("b", 20, cpus=2)
    assert ends(*greedy) == {"a": 10, "b": 30}


def test_what_takes_no_cpu_waits_for_none() -> None:
    builds = [step(name, 10, cpus=0) for name in "abcd"]
    assert set(ends(*builds, step("e", 10), most=1).values()) == {10}


def test_nothing_is_said_of_what_comes_after_an_unknown_time() -> None:
    steps = step("a", None), step("b", 1, "a"), step("c", 1, "b"), step("d", 1)
    assert ends(*steps) == {"a": None, "b": None, "c": None, "d": 1}


def test_of_a_step_that_plans_share_the_time_is_the_one_that_is_known() -> None:
    (found,) = merged([step("a", None), step("a", 7), step("a", 9)]).values()
    assert found.ms == 7


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 3), st.sets(st.integers(0, 9)))))
def test_no_step_ends_before_what_it_needs_and_all_of_them_end(
    rows: list[tuple[int, int, set[int]]],
) -> None:
    steps = [
        step(str(at), ms, *(str(need) for need in needs if need < at), cpus=cpus)
        for at, (ms, cpus, needs) in enumerate(rows)
    ]
    found = finish_times(steps, CPUS)
    assert found.keys() == {each.key for each in steps}
    for each in steps:
        end = found[each.key]
        assert end is not None
        assert all(end - (each.ms or 0) >= (found[need] or 0) for need in each.needs)
    assert max((end or 0 for end in found.values()), default=0) <= sum(ms for ms, _, _ in rows)


class Past:
    """The runs of a state root, each made by hand, the newest last."""

    def __init__(self, root: Path) -> None:
        self.state = StateLayout(root)
        self._ids = run_ids(1000)

    def ran(self, target: str = "t", status: str = "passed", **values: Any) -> Path:  # noqa: ANN401 - fields of a record
        run = finished(self.state, next(self._ids))
        change(run.record, target_id=target, status=status, **values)
        return run.record

    @property
    def estimates(self) -> Estimates:
        return Estimates(RunStore(self.state.root))


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


def took(name: str, secs: int, **values: object) -> dict[str, object]:
    times = {"started_at": f"{DAY}00.000Z", "finished_at": f"{DAY}{secs:02d}.000Z"}
    return {"id": name, "status": "passed", **times, **values}


def made(node_id: str, secs: int, prepare_id: str, **values: object) -> dict[str, object]:
    end = {"outcome": "passed", "cached": False, "duration_ms": secs * 1000}
    return {"node_id": node_id, "prepare_id": prepare_id, **end, **values}


def test_a_job_takes_what_it_took_in_the_middle_of_its_newest_runs(past: Past) -> None:
    for secs in (50, 50, 50, 1, 2, 3, 40, 5):
        past.ran(jobs=[took("a", secs)])
    past.ran("other", jobs=[took("a", 30)])
    assert past.estimates.job("t", "a") == 3000
    assert past.estimates.job("t", "b") is None


def test_a_job_that_never_passed_takes_what_it_took_to_fail(past: Past) -> None:
    past.ran(status="failed", jobs=[took("a", 9, status="failed", failure_kind="test_failure")])
    past.ran(status="failed", jobs=[took("a", 30, status="failed", failure_kind="infrastructure")])
    assert past.estimates.job("t", "a") == 9000
    past.ran(jobs=[took("a", 4)])
    assert past.estimates.job("t", "a") == 4000


def build_of(node_id: str, prepare_id: str) -> Any:  # noqa: ANN401 - a node
    spec = NixBuild(installable="x", drv_path="/x.drv", out_path="/nowhere/x", timeout_secs=9)
    return built(node_id, spec).with_(prepare_id=prepare_id)


def test_a_prepare_takes_what_it_took_when_it_was_made(past: Past) -> None:
    past.ran(prepare_timings=[made("deps-11111111", 20, "deps")])
    past.ran(prepare_timings=[made("deps-11111111", 1, "deps", cached=True)])
    past.ran(prepare_timings=[made("deps-11111111", 1, "deps", outcome="failed")])
    past.ran(prepare_timings=[made("deps-22222222", 30, "deps")])
    estimates = past.estimates
    assert estimates.prepare("t", build_of("deps-11111111", "deps")) == 20_000
    assert estimates.prepare("elsewhere", build_of("deps-22222222", "libs")) == 30_000
    # As it was before its source changed.
    assert estimates.prepare("t", build_of("deps-33333333", "deps")) == 30_000
    assert estimates.prepare("elsewhere", build_of("deps-33333333", "deps")) is None


def test_records_that_are_damaged_are_passed_over(past: Past) -> None:
    past.ran(jobs=[took("a", 4)])
    past.ran(jobs=[took("a", 5, started_at="yesterday"), {"id": 7}, "x"])
    past.ran(jobs=None, prepare_timings=[{"outcome": "passed", "cached": False}], status="odd")
    past.ran().write_text("[" * 100_000)
    past.ran().unlink()
    assert past.estimates.job("t", "a") == 4000


def test_only_the_newest_runs_are_read(past: Past) -> None:
    past.ran(jobs=[took("a", 4)])
    for _ in range(NEWEST_RUNS):
        past.ran("other", jobs=[])
    assert past.estimates.job("t", "a") is None


def test_so_are_runs_behind_very_large_records(past: Past) -> None:
    past.ran(jobs=[took("a", 4)])
    past.ran("other", message="x" * MOST_BYTES)
    past.ran(jobs=[took("b", 5)])
    assert (past.estimates.job("t", "a"), past.estimates.job("t", "b")) == (None, 5000)


def test_what_is_left_of_runs_follows_from_what_is_done_and_what_runs(past: Past) -> None:
    past.ran(jobs=[took("a", 20), took("b", 40)])
    now = 100.0
    progress = Progress(past.state, lambda: now)
    eta = Eta(past.state, progress)
    whole = plan(job("a"), job("b", after=["a"]), target="t")
    with writing(past.state, whole, run_id=RUN_ID, sinks=[Noting(progress)]) as run:
        assert eta.text == ""
        now += AFTER_SECS
        assert eta.text == "about 1 min left"
        run.emit(JobStarted(job_id="a", attempt=1))
        now += 15
        assert eta.text == "about 45 s left"
        now += 15
        # It is late; what comes after it is not yet.
        assert eta.text == "about 40 s left"
        run.emit(JobFinished(job=run.record.jobs[0].with_(status=Status.PASSED)))
        run.emit(JobStarted(job_id="b", attempt=1))
        now += 32
        assert eta.text == "about 8 s left"
        now += 32
        assert eta.text == "longer than estimated"


def test_nothing_is_said_of_what_is_left_where_a_job_is_new(past: Past) -> None:
    past.ran(jobs=[took("a", 20)])
    now = 100.0
    progress = Progress(past.state, lambda: now)
    eta = Eta(past.state, progress)
    whole = plan(job("a"), job("new"), target="t")
    with writing(past.state, whole, sinks=[Noting(progress)]) as run:
        now += AFTER_SECS
        assert eta.text == ""
        run.layout.plan.write_text("{")
        now += AFTER_SECS
        assert Eta(past.state, progress).text == ""


class Noting:
    """A sink that has the progress of runs noted."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def emit(self, event: EventBase) -> None:
        self._progress.note(event)


def asked(*plans: Plan, **values: Any) -> list[RunRequest]:  # noqa: ANN401 - fields of the request
    source = Source(tree="0" * 40, snapshot_id="0" * 40)
    return [RunRequest(each, source, Tool(version="0"), **values) for each in plans]


def estimated(past: Past, requests: Sequence[RunRequest]) -> list[int | None]:
    return [each.estimated_ms for each in with_estimates(RunStore(past.state.root), requests)]


def test_a_run_is_expected_to_take_as_long_as_its_slowest_way(past: Past) -> None:
    past.ran(
        jobs=[took("a", 4), took("b", 7), took("c", 40)],
        prepare_timings=[made("deps-1", 20, "deps")],
    )
    deps = build_of("deps-1", "deps")
    whole = plan(deps, job("a", needs=["deps-1"]), job("b"), job("c", after=["b"]), target="t")
    assert estimated(past, asked(whole)) == [47_000]
    assert estimated(past, asked(whole, jobs=frozenset({"a"}))) == [24_000]
    assert estimated(past, asked(whole, skip_reason="skipped")) == [None]
    assert estimated(past, asked(plan(job("new"), target="t"))) == [None]


def test_runs_beside_each_other_share_their_builds_and_wait_for_each_other(past: Past) -> None:
    past.ran("one", jobs=[took("a", 4)], prepare_timings=[made("deps-1", 20, "deps")])
    past.ran("two", jobs=[took("b", 5)])
    both = [
        plan(build_of("deps-1", "deps"), job(name, needs=["deps-1"]), target=target)
        for target, name in (("one", "a"), ("two", "b"))
    ]
    assert estimated(past, asked(*both, max_jobs=1)) == [24_000, 29_000]
