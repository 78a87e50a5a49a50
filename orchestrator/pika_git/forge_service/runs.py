"""A run with its lanes, and one lane."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pika_git.forge_service.lanes import Rows, lane_of
from pika_git.forge_service.lenient import mapping, parsed, rows, words
from pika_git.forge_service.lines import act, run_line
from pika_git.forge_service.model import Lane, Run, Selected
from pika_git.forge_service.sentences import summary
from pika_git.persistence.views import runs as view

if TYPE_CHECKING:
    from pika_git.forge_service.model import RunLine, Source
    from pika_git.persistence.database import Connection
    from pika_git.persistence.views import Row

FIRST = ("failed", "unknown", "cancelling", "running", "queued", "cancelled", "skipped", "success")
"""The order of lanes: what failed, then what isn't over."""
MOST_SUBJECTS = 500


def run(source: Source, run_id: int) -> Run | None:
    """A run with all there is about it."""
    with source.database.read() as connection:
        return read_run(connection, source.database.clock(connection), run_id)


def lane(source: Source, lane_id: int) -> tuple[Run, Lane] | None:
    """A lane, and its run with that lane alone."""
    with source.database.read() as connection:
        run_id = view.run_of(connection, lane_id)
        if run_id is None:
            return None
        now = source.database.clock(connection)
        found = read_run(connection, now, run_id, lane=lane_id)
    return (found, found.lanes[0]) if found and found.lanes else None


def read_run(
    connection: Connection,
    now: float,
    run_id: int,
    lane: int | None = None,
    *,
    is_whole: bool = True,
) -> Run | None:
    """A run, or what its branch's page shows of it: without places, reruns and audit."""
    row = view.run(connection, run_id)
    if row is None:
        return None
    lane_rows = view.lanes(connection, run_id, lane)
    subjects = [f"run {run_id}", *(f"lane {each.id}" for each in lane_rows[:MOST_SUBJECTS])]
    acts = [act(each) for each in view.audit(connection, subjects)] if is_whole else []
    found = Rows(
        now=now,
        run=row,
        reasons=view.reasons(connection, run_id, lane),
        attempts=view.attempts(connection, run_id, lane),
        holders=view.holders(connection, run_id, lane),
        places=view.places(connection, run_id, lane) if is_whole else {},
        acts=acts,
    )
    reruns = view.reruns(connection, run_id) if is_whole else ()
    lanes = [lane_of(each, found) for each in lane_rows]
    return Run(
        now=now,
        line=_line(row, lanes),
        repo_id=row.repo_id,
        repo=words(row.repo) or "unknown",
        repo_paused=bool(row.repo_paused),
        branch_id=row.branch_id,
        branch_state=words(row.branch_state),
        base=words(row.base),
        pusher=words(row.pusher),
        lanes=tuple(sorted(lanes, key=_order)),
        left_out=tuple(_left_out(row.selection)),
        reruns=tuple(run_line(each) for each in reruns),
        acts=tuple(each for each in acts if each.subject == f"run {run_id}"),
    )


def _order(lane: Lane) -> tuple[int, bool, str, int]:
    return FIRST.index(lane.state), not lane.required, lane.name, lane.id


def _line(row: Row[Any], lanes: list[Lane]) -> RunLine:
    counts: dict[str, int] = {}
    for each in lanes:
        counts[each.state] = counts.get(each.state, 0) + 1
    titles = {each.state: each.title for each in lanes}
    return replace(run_line(row), counts=counts, summary=summary(counts, titles))


def _left_out(selection: object) -> list[Selected]:
    """The lanes of the head's file that this run has not; what is damaged is left out."""
    found = parsed(selection)
    entries = found if isinstance(found, list) else mapping(selection).get("lanes", [])
    return [
        Selected(
            name=words(each.get("id")) or "unknown",
            title=words(each.get("title")) or words(each.get("id")) or "unknown",
            is_selected=False,
            why=words(each.get("reason")) or "it was not selected",
        )
        for each in rows({"lanes": entries}, "lanes")
        if each.get("selected") is False
    ]
