from __future__ import annotations

from pathlib import Path

import pytest

from jerichoci.exit_codes import exit_code
from jerichoci.record.event import PrepareFinished
from jerichoci.record.record import Cause
from jerichoci.state.layout import StateLayout
from jerichoci.status import FailureKind, Outcome, Status
from pikaci.render.words import about, between, duration, estimate, job_end, prepare_end
from pikaci.screen import table
from plans import job, plan
from records import first_record


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1.0 s"),
        (59_940, "59.9 s"),
        (60_000, "1 min 00 s"),
        (187_000, "3 min 07 s"),
        (3_600_000, "60 min 00 s"),
    ],
)
def test_durations_are_read_at_a_glance(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text


@pytest.mark.parametrize(
    ("started", "finished", "text"),
    [
        ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.500Z", "1.5 s"),
        (None, "2026-01-01T00:00:00.000Z", ""),
        ("2026-01-01T00:00:00.000Z", None, ""),
        ("2026-01-01T00:00:00", "2026-01-01T00:00:00.000Z", ""),
        ("yesterday", "2026-01-01T00:00:00.000Z", ""),
    ],
)
def test_the_time_between_is_empty_where_a_record_lacks_one(
    started: str | None, finished: str | None, text: str
) -> None:
    assert between(started, finished) == text


def test_a_job_repeats_not_why_a_prepare_failed_where_that_has_been_said() -> None:
    why = "prepare deps does not build: builder failed with exit code 3"
    cause = Cause(phase="prepare", code="build_failed", message=why)
    (row,) = first_record(StateLayout(Path("nowhere")), plan(job("a"))).jobs
    failed = row.with_(status=Status.FAILED, cause=cause, message=why)
    assert job_end(failed) == f"failed: {why}"
    assert job_end(failed, briefly=True) == "failed: prepare deps does not build"
    event = PrepareFinished(
        node_id="x", outcome=Outcome.FAILED, cached=False, duration_ms=1, cause=cause
    )
    assert prepare_end("deps", event) == ": does not build: builder failed with exit code 3"


@pytest.mark.parametrize(
    ("expected", "took", "text"),
    [
        (42_000, 40_000, "estimated 42.0 s (5 % too long)"),
        (30_000, 40_000, "estimated 30.0 s (25 % too short)"),
        (40_010, 40_000, "estimated 40.0 s"),
        (42_000, None, "estimated 42.0 s"),
        (42_000, 0, "estimated 42.0 s"),
    ],
)
def test_an_estimate_says_how_wrong_it_was(expected: int, took: int | None, text: str) -> None:
    assert estimate(expected, took) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1 s"),
        (8400, "8 s"),
        (47_000, "45 s"),
        (90_000, "2 min"),
        (3_600_000, "1 h 00 min"),
        (7_800_000, "2 h 10 min"),
    ],
)
def test_a_time_to_come_is_only_as_exact_as_it_is_known(milliseconds: int, text: str) -> None:
    assert about(milliseconds) == text


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (Status.PASSED, None, 0),
        (Status.SKIPPED, None, 0),
        (Status.FAILED, FailureKind.TEST_FAILURE, 1),
        (Status.FAILED, FailureKind.INFRASTRUCTURE, 75),
        (Status.FAILED, FailureKind.TIMEOUT, 124),
        (Status.FAILED, None, 75),
        (Status.CANCELLED, None, 130),
    ],
)
def test_every_end_has_its_exit_code(status: Status, kind: FailureKind | None, code: int) -> None:
    assert exit_code(status, kind) == code


def test_a_table_has_columns_as_wide_as_they_need_to_be() -> None:
    text = table(("A", "LONG"), [("wide cell", "x"), ("y", "")])
    assert text.splitlines() == ["A          LONG", "wide cell  x", "y"]


def test_an_empty_table_is_its_head() -> None:
    assert table(("A", "B"), []) == "A  B"
