"""Running again what was run, and ending what a newer push made pointless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence.lines import leaving
from pika_git.persistence.lines.facts import parse_labels
from pika_git.persistence.lines.leaving import TERMINAL
from pika_git.persistence.queue.ending import recover
from pika_git.persistence.queue.entry import enqueue
from pika_git.persistence.queue.model import LaneClass, NewLane, RefusedError
from pika_git.persistence.queue.operator import cancel, get_lane, get_lanes, is_alive
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from pika_git.persistence.database import Database

_COPY = text("""
    INSERT INTO ci_run (repo_id, branch_id, kind, ref, head, tree, base, state, selection,
        created_by, created_at, planned_at, rerun_of)
    SELECT repo_id, branch_id, 'manual', ref, head, tree, base, 'queued', selection, :by, :now,
        :now, id
    FROM ci_run WHERE id = :run RETURNING id
""")
_LANE = text("""
    SELECT lane.*, label_set.labels FROM lane
    LEFT JOIN label_set ON label_set.id = lane.label_set_id
    WHERE lane.id = :lane
""")
_OLDER = text("""
    SELECT older.id, repo.cancel_superseded FROM ci_run AS newer
    JOIN ci_run AS older ON older.repo_id = newer.repo_id AND older.ref = newer.ref
        AND older.kind = newer.kind AND older.id < newer.id
    JOIN repo ON repo.id = newer.repo_id
    WHERE newer.id = :run AND newer.kind != 'manual' AND older.finished_at IS NULL
    ORDER BY older.id
""")
_SUPERSEDED = text("UPDATE ci_run SET superseded_by = :run WHERE id = :older")
_PLAN_NO_MORE = text("""
    UPDATE ci_run SET state = 'cancelled', finished_at = :now, message = :why
    WHERE id = :run AND state = 'planning'
""")
_PLAN_AGAIN = text("""
    UPDATE ci_run SET state = 'planning', message = NULL, hint = NULL, planned_at = NULL,
        finished_at = NULL, held = 1
    WHERE id = :run AND superseded_by IS NULL
      AND NOT EXISTS (SELECT 1 FROM lane WHERE run_id = :run) AND state IN ('planning', 'failed')
""")


def rerun_run(database: Database, run: int, by: str, why: str) -> int:
    """Run all lanes of a run once more, as a new run by hand; its id. `why` is for the audit."""
    del why
    with database.write() as connection:
        lanes = get_lanes(connection, run)
        if not lanes:
            raise RefusedError(f"run {run} has no lanes", "push again, or start a run by hand")
        return _again(connection, run, lanes, by, database.clock(connection))


def rerun_lane(database: Database, lane: int, by: str, why: str) -> int:
    """Run one lane once more, as a new run by hand; the run's id. `why` is for the audit."""
    del why
    with database.write() as connection:
        row = get_lane(connection, lane)
        return _again(connection, row.run_id, [row], by, database.clock(connection))


def _again(connection: Connection, run: int, rows: list[Row[Any]], by: str, now: float) -> int:
    for row in rows:
        if row.state not in TERMINAL:
            raise RefusedError(f"lane {row.id} is not over: {row.state}", "cancel it first")
    rows = [row for row in rows if row.plan_path is not None]
    if not rows:
        raise RefusedError("no lane of it has a plan", "fix what planning said, and push")
    new = int(connection.execute(_COPY, {"run": run, "by": by, "now": now}).scalar_one())
    enqueue(connection, new, [_copied(connection, row.id) for row in rows], now)
    return new


def _copied(connection: Connection, lane: int) -> NewLane:
    row = connection.execute(_LANE, {"lane": lane}).one()
    return NewLane(
        name=row.name,
        title=row.title,
        target=row.target,
        klass=LaneClass.MANUAL,
        group_name=row.group_name,
        labels=tuple(parse_labels(row.labels)),
        why=row.why,
        plan_path=row.plan_path,
        plan_digest=row.plan_digest,
        required=bool(row.required),
        rerun_of=row.id,
    )


def supersede(connection: Connection, run: int, now: float) -> None:
    """A newer head has come: older runs of the same ref and kind are no longer waited for.

    Queued lanes are cancelled; running ones only if the repository says so. Runs by hand neither
    supersede nor are superseded.
    """
    for older, cancels_running in connection.execute(_OLDER, {"run": run}).all():
        connection.execute(_SUPERSEDED, {"run": run, "older": older})
        why = f"superseded by run {run}"
        cancel_queued(connection, older, "forge", why, now, running=bool(cancels_running))


def cancel_queued(
    connection: Connection, run: int, by: str, why: str, now: float, *, running: bool = False
) -> None:
    """Cancel what of a run has not begun; with `running`, what has, too."""
    for row in get_lanes(connection, run):
        if row.state == "queued" or (row.state == "running" and running):
            cancel(connection, row, by, why, now)
    connection.execute(_PLAN_NO_MORE, {"run": run, "now": now, "why": why})


def recover_run(database: Database, run: int, by: str, why: str) -> int:
    """Bring a run on that is stuck; how many of its lanes wait again or ended.

    A running lane whose lease is over is taken for gone and waits again, one that is being
    cancelled ends. A run without lanes whose planning failed or stopped is planned again.
    """
    del by, why
    with database.write() as connection:
        now = database.clock(connection)
        rows = get_lanes(connection, run)
        stuck = [row for row in rows if row.state in {"running", "cancelling"}]
        stuck = [row for row in stuck if not is_alive(row, now)]
        for row in stuck:
            recover(connection, row, "its worker was gone", now)
        leaving.settle_run(connection, run, now)
        if not rows and connection.execute(_PLAN_AGAIN, {"run": run}).rowcount == 0:
            raise RefusedError(f"run {run} has nothing to recover", "rerun it, or push again")
        if rows and not stuck:
            hint = "its lanes wait, run under a worker's lease or are over: rerun or cancel those"
            raise RefusedError(f"run {run} has nothing to recover", hint)
        wake(connection, f"run {run} was recovered", now)
        return len(stuck)
