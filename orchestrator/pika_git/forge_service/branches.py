"""The feed, and a branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pika_git.forge_service.cursor import NEWEST, decode, encode
from pika_git.forge_service.lenient import number
from pika_git.forge_service.lines import branch_line, run_line
from pika_git.forge_service.model import Branch, Feed
from pika_git.forge_service.runs import read_run
from pika_git.persistence.views import branches as view

if TYPE_CHECKING:
    from pika_git.forge_service.model import Source

PAGE = 40
RUNS = 20


def feed(
    source: Source, cursor: str | None = None, repo: int | None = None, ref: str | None = None
) -> Feed:
    """Branches, what changed last first; one that isn't a cursor begins at the first."""
    found = decode(cursor, 2)
    start = (float(found[0]), int(found[1])) if found else view.FIRST
    with source.database.read() as connection:
        now = source.database.clock(connection)
        rows = view.recent(connection, start, PAGE + 1, repo, ref)
        ids = [row.run_id for row in rows if row.run_id is not None]
        counts = view.lane_counts(connection, ids)
        runs = [run_line(row, counts) for row in view.runs(connection, ids)]
    shown = rows[:PAGE]
    after = encode(number(shown[-1].updated_at), shown[-1].id) if rows[PAGE:] else None
    return Feed(now, tuple(branch_line(row, runs) for row in shown), after)


def branch(source: Source, branch_id: int, cursor: str | None = None) -> Branch | None:
    """A branch with its newest run, and the runs before it; `cursor` continues with older ones."""
    found = decode(cursor, 1)
    before = int(found[0]) if found else NEWEST
    with source.database.read() as connection:
        now = source.database.clock(connection)
        row = view.branch(connection, branch_id)
        if row is None:
            return None
        newest = read_run(connection, now, row.run_id, is_whole=False) if row.run_id else None
        rows = view.runs_of(connection, branch_id, before, RUNS + 1)
        counts = view.lane_counts(connection, [each.id for each in rows])
        runs = tuple(run_line(each, counts) for each in rows[:RUNS])
    after = encode(runs[-1].id) if rows[RUNS:] else None
    return Branch(now, branch_line(row, [newest.line] if newest else []), newest, runs, after)
