"""Which run of pikaci a lane's attempts had, and where its records are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

_OF_LANE = text("""
    SELECT attempt.*, lane.repo_id FROM attempt JOIN lane ON lane.id = attempt.lane_id
    WHERE lane_id = :lane AND number = coalesce(:number, number)
    ORDER BY number DESC LIMIT 1
""")
_OF_RUN = text("""
    SELECT attempt.*, lane.repo_id FROM attempt JOIN lane ON lane.id = attempt.lane_id
    WHERE pikaci_run_id = :run
""")
_LANES = text("""
    SELECT lane.id, lane.repo_id, lane.run_id, lane.name, lane.title, lane.target, lane.state,
        attempt.number, attempt.pikaci_run_id
    FROM lane LEFT JOIN attempt ON attempt.lane_id = lane.id
        AND attempt.number = (SELECT max(number) FROM attempt WHERE lane_id = lane.id)
    WHERE lane.run_id = (SELECT max(id) FROM ci_run WHERE branch_id = :branch)
    ORDER BY lane.id
""")


@dataclass(frozen=True)
class Attempt:
    """One attempt of a lane."""

    lane_id: int
    repo_id: int
    number: int
    pikaci_run_id: str
    is_over: bool


@dataclass(frozen=True)
class LaneRun:
    """A lane and the run of its newest attempt; without one it has not begun."""

    lane_id: int
    repo_id: int
    run_id: int
    name: str
    title: str
    target: str
    state: str
    attempt: int | None
    pikaci_run_id: str | None


def of_lane(connection: Connection, lane: int, number: int | None = None) -> Attempt | None:
    """An attempt of a lane, the newest if `number` is None."""
    return _attempt(connection.execute(_OF_LANE, {"lane": lane, "number": number}).one_or_none())


def of_pikaci_run(connection: Connection, run: str) -> Attempt | None:
    """The attempt that a run of pikaci is."""
    return _attempt(connection.execute(_OF_RUN, {"run": run}).one_or_none())


def of_branch(connection: Connection, branch: int) -> list[LaneRun]:
    """The lanes of a branch's newest run."""
    return [
        LaneRun(
            lane_id=row.id,
            repo_id=row.repo_id,
            run_id=row.run_id,
            name=_text(row.name),
            title=_text(row.title),
            target=_text(row.target),
            state=_text(row.state),
            attempt=row.number if isinstance(row.number, int) else None,
            pikaci_run_id=None if row.pikaci_run_id is None else _text(row.pikaci_run_id),
        )
        for row in connection.execute(_LANES, {"branch": branch})
    ]


def _attempt(row: Row[Any] | None) -> Attempt | None:
    if row is None:
        return None
    number = row.number if isinstance(row.number, int) else 0
    run_id, is_over = _text(row.pikaci_run_id), row.state != "running"
    return Attempt(row.lane_id, row.repo_id, number, run_id, is_over)


def _text(value: object) -> str:
    """A column's text; one that is damaged names no run and no lane."""
    return value if isinstance(value, str) else "unknown"
