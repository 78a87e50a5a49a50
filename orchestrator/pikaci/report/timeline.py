"""When each node of a run's plan was made or ran, and which of them the whole run waited for."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from jerichoci.state.dataclass import dataclass
from jerichoci.status import Outcome, PhaseName
from pikaci.render.words import SECOND_MS, duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jerichoci.record.record import JobRecord, RunRecord

WIDTH = 1000.0
"""Of a timeline, in its own units."""
MOSTLY = 0.8
"""Of a run's time, what its critical path has if it hardly waited, for room or for people."""
LEAST = 3.0
"""What is too short to be seen is this wide."""


@dataclass(frozen=True)
class Bar:
    """A piece of a row: what it is (`made`, `before`, `ran`, `after`) and where."""

    kind: str
    x: float
    width: float


@dataclass(frozen=True)
class Row:
    """A node of the plan in time; milliseconds since the run began."""

    node_id: str
    name: str
    kind: str
    status: str
    note: str
    start: int | None
    end: int | None
    needs: tuple[str, ...] = ()
    marks: tuple[tuple[str, int, int], ...] = ()
    """Kinds of its pieces, from when to when."""

    @property
    def took(self) -> str:
        """How long it took, for people."""
        return duration(self.end - self.start) if self.start is not None and self.end else ""


@dataclass(frozen=True)
class Timeline:
    """The rows in the order in which they began; `critical` are ids of nodes, the first first."""

    rows: tuple[Row, ...]
    whole: int
    critical: tuple[str, ...]

    def bars(self, row: Row) -> list[Bar]:
        """The pieces of a row as rectangles."""
        scale = WIDTH / max(1, self.whole)
        found = []
        for kind, start, end in row.marks:
            width = max(LEAST, (end - start) * scale)
            x = min(max(0.0, start * scale), WIDTH - LEAST)
            found.append(Bar(kind, round(x, 1), round(min(width, WIDTH - x), 1)))
        return found

    @property
    def sentence(self) -> str:
        """The critical path in words; empty if nothing has a time."""
        rows = {row.node_id: row for row in self.rows}
        path = [rows[node] for node in self.critical]
        if not path:
            return ""
        steps = " → ".join(f"{row.name} {row.took}" for row in path)
        busy = sum((row.end or 0) - (row.start or 0) for row in path)
        waited = (
            "; the rest passed before, between and after them" if busy < MOSTLY * self.whole else ""
        )
        return f"{duration(busy)} of {duration(self.whole)}: {steps}{waited}"


def timeline(
    record: RunRecord, needs: Mapping[str, Sequence[str]], names: Mapping[str, str]
) -> Timeline:
    """The nodes of a run in time, those that never began last."""
    begin = _at(record.created_at)
    rows = [*_prepares(record, begin, needs, names), *_jobs(record, begin, needs)]
    ends = [row.end for row in rows if row.end is not None]
    end = _since(begin, record.finished_at)
    whole = max([*ends, end or 0, 1])
    rows.sort(key=lambda row: (row.start is None, row.start or 0))
    return Timeline(tuple(rows), whole, _critical(rows))


def _prepares(
    record: RunRecord,
    begin: datetime | None,
    needs: Mapping[str, Sequence[str]],
    names: Mapping[str, str],
) -> list[Row]:
    found = []
    for each in record.prepare_timings:
        start, end = _since(begin, each.started_at), _since(begin, each.finished_at)
        span = () if start is None or end is None else (("made", start, end),)
        outcome = "running" if each.outcome == Outcome.STARTED else str(each.outcome)
        note = "was there already" if each.cached else ""
        name = names.get(each.node_id, each.node_id)
        needed = tuple(needs.get(each.node_id, ()))
        row = Row(each.node_id, name, "prepare", outcome, note, start, end, needed, span)
        found.append(row)
    return found


def _jobs(
    record: RunRecord, begin: datetime | None, needs: Mapping[str, Sequence[str]]
) -> list[Row]:
    found = []
    for job in record.jobs:
        start, end = _since(begin, job.started_at), _since(begin, job.finished_at)
        note = f"{job.attempt} attempts" if job.attempt > 1 else ""
        needed = tuple(needs.get(job.plan_node_id, ()))
        marks = _marks(job, begin, start, end)
        node = job.plan_node_id
        found.append(Row(node, job.id, "job", job.status, note, start, end, needed, marks))
    return found


def _marks(
    job: JobRecord, begin: datetime | None, start: int | None, end: int | None
) -> tuple[tuple[str, int, int], ...]:
    """The pieces of a job: what was before its command, its command, and what came after."""
    if start is None or end is None:
        return ()
    ran = [each for each in job.phases if each.phase == PhaseName.WAIT_FOR_COMPLETION]
    first = _since(begin, ran[0].started_at) if ran else None
    last = _since(begin, ran[-1].finished_at) if ran else None
    if first is None or last is None:
        return (("before", start, end),)
    pieces = (("before", start, first), ("ran", first, last), ("after", last, end))
    return tuple(piece for piece in pieces if piece[2] > piece[1] or piece[0] == "ran")


def _critical(rows: Sequence[Row]) -> tuple[str, ...]:
    """From the node that ended last, each time to what it needs that ended last."""
    ended = {row.node_id: row for row in rows if row.end is not None and row.start is not None}
    path: list[str] = []
    row = max(ended.values(), key=lambda each: each.end or 0, default=None)
    while row is not None and row.node_id not in path:
        path.append(row.node_id)
        needed = [ended[node] for node in row.needs if node in ended]
        row = max(needed, key=lambda each: each.end or 0, default=None)
    return tuple(reversed(path))


def _at(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None


def _since(begin: datetime | None, text: str | None) -> int | None:
    """Milliseconds from the beginning to a time; null if either is not known."""
    at = _at(text)
    if begin is None or at is None:
        return None
    return max(0, round((at - begin).total_seconds() * SECOND_MS))
