"""A claim costs the same however many lanes are queued, and whatever they wait for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from forge_database import TIMEOUT, Forge, lane
from pika_git.persistence import runs
from pika_git.persistence.queue import lease
from pika_git.persistence.views import waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pika_git.persistence.database import Database

TABLES = ("lane", "turn", "reason", "attempt", "ci_run", "group_hold", "wake", "health_event")
PLANNED = {"SELECT", "UPDATE", "DELETE"}
"""Inserts are planned with a look at what refers to the row; that is done only after violations."""
GOES_THROUGH = [["SCAN", table] for table in TABLES]


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge.in_directory(tmp_path)


@contextmanager
def statements(forge: Forge, executed: list[str]) -> Iterator[None]:
    """Note what is executed meanwhile."""

    def note(*of: Any) -> None:  # noqa: ANN401 - SQLAlchemy's
        executed.append(of[2])

    event.listen(forge.database.engine, "before_cursor_execute", note)
    yield
    event.remove(forge.database.engine, "before_cursor_execute", note)


def is_planned(statement: str) -> bool:
    """`SELECT 1` ends at the first row."""
    return statement.split(maxsplit=1)[0] in PLANNED and not statement.startswith("SELECT 1 ")


def steps(forge: Forge, executed: list[str]) -> list[tuple[str, str]]:
    """How SQLite executes these statements: (step, statement)."""
    found: list[tuple[str, str]] = []
    with forge.database.read() as connection:
        for statement in sorted({each for each in executed if is_planned(each)}):
            values = (None,) * statement.count("?")
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            found += [(row.detail, statement) for row in plan]
    return found


def scans(forge: Forge, executed: list[str]) -> list[str]:
    """What of these statements goes through all rows of a table that grows."""
    return [
        f"{step}: {statement}"
        for step, statement in steps(forge, executed)
        if step.split()[:2] in GOES_THROUGH
    ]


def test_no_statement_of_a_lanes_way_goes_through_all_rows(forge: Forge) -> None:
    worker = forge.worker(slots=3)
    for _ in range(2):
        forge.push(lane("bad"))
        forge.finish(forge.take(worker), TIMEOUT)
    executed: list[str] = []
    with statements(forge, executed):
        forge.push(lane("a", group="g"), lane("b", group="g"), lane("bad"), lane("c"))
        for _ in range(3):
            forge.finish(forge.take(worker))
        forge.pass_time(60)
        forge.finish(forge.take(worker), TIMEOUT)
    assert scans(forge, executed) == []


def test_a_claim_executes_as_many_statements_with_many_lanes_as_with_few(forge: Forge) -> None:
    worker = forge.worker(slots=9)
    executed: list[str] = []
    counts = []
    for queued in (1, 60):
        forge.push(*(lane(str(n), group="g" if n else None) for n in range(queued)))
        with statements(forge, executed):
            forge.take(worker)
        counts.append(len(executed))
        executed.clear()
    assert counts[0] == counts[1] < 40


@pytest.mark.parametrize(
    ("look", "table", "by"),
    [
        (lambda database: read(database, runs.planning, 0.0), "ci_run", "ci_run_planning"),
        (lambda database: read(database, runs.to_release), "ci_run", "ci_run_held"),
        (lambda database: lease.abandoned(database, 1), "attempt", "attempt_lost"),
        (lambda database: read(database, waiting.counts), "lane", "COVERING INDEX lane_active"),
    ],
)
def test_a_look_reads_only_the_rows_that_it_is_about(
    forge: Forge, look: Callable[[Database], object], table: str, by: str
) -> None:
    executed: list[str] = []
    with statements(forge, executed):
        look(forge.database)
    (step,) = [step for step, _ in steps(forge, executed) if step.split()[1] == table]
    assert f" {by}" in step


def test_lanes_whose_worker_is_lost_are_found_among_those_that_are_not_over(forge: Forge) -> None:
    executed: list[str] = []
    with statements(forge, executed):
        forge.sweep()
    lost = [each for each in executed if "lease.expires_at, lane.started_at" in each]
    found = [step for step, _ in steps(forge, lost) if step.split()[1] == "lane"]
    assert len(found) == 1
    assert found[0].startswith("SEARCH lane USING INDEX lane_active (state=?")


def read(database: Database, look: Callable[..., object], *values: float) -> object:
    with database.read() as connection:
        return look(connection, *values)
