"""A claim costs the same however many lanes are queued, and whatever they wait for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from forge_database import TIMEOUT, Forge, lane

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


def scans(forge: Forge, executed: list[str]) -> list[str]:
    """What of these statements goes through all rows of a table that grows."""
    found: list[str] = []
    with forge.database.read() as connection:
        for statement in sorted({each for each in executed if is_planned(each)}):
            values = (None,) * statement.count("?")
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            steps = [row.detail for row in plan]
            found += [f"{step}: {statement}" for step in steps if step.split()[:2] in GOES_THROUGH]
    return found


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
