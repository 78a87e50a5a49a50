from __future__ import annotations

import pytest

from jerichoci.exit_codes import exit_code
from jerichoci.status import FailureKind, Status
from pikaci.render.words import between, duration
from pikaci.screen import table


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
