"""Running again what was run, and ending what a newer push made pointless."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence.queue.ending import cancel, end_lane, lanes_of, settle_run
from pika_git.persistence.queue.entry import enqueue
from pika_git.persistence.queue.model import (
    TERMINAL,
    Ending,
    LaneClass,
    LaneState,
    NewLane,
    RefusedError,
)
from pika_git.persistence.workers import parse_labels

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from pika_git.persistence.database import Database

_COPY = text("""
    INSERT INTO ci_run (repo_id, branch_id, kind, ref, head, tree, base, state, selection,
        created_by, created_at, planned_at, rerun_of, held)
    SELECT repo_id, branch_id, kind, ref, head, tree, base, 'queued', selection, :by, :now, :now,
        id, 1
    FROM ci_run WHERE id = :run RETURNING id
""")
_OLDER = text("""
    SELECT older.id, repo.cancel_superseded FROM ci_run AS newer
    JOIN ci_run AS older ON older.repo_id = newer.repo_id AND older.ref = newer.ref
        AND older.kind = newer.kind AND older.id < newer.id
    JOIN repo ON repo.id = newer.repo_id
    WHERE newer.id = :run AND older.finished_at IS NULL
""")


def rerun_run(database: Database, run: int, by: str, why: str) -> int:
    """Run all lanes of a run once more, as a new run by hand; its id. `why` is the audit's."""
    del why
    with database.write() as connection:
        now = database.clock(connection)
        rows = lanes_of(connection, run)
        if rows is None:
            raise RefusedError(f"there is no run {run}")
        if not rows:
            raise RefusedError(f"run {run} has no lanes", "push again, or start a run by hand")
        return _again(connection, run, rows, by, now)


def rerun_lane(database: Database, lane: int, by: str, why: str) -> int:
    """Run one lane once more, as a new run by hand; the run's id. `why` is the audit's."""
    del why
    with database.write() as connection:
        now = database.clock(connection)
        query = text("SELECT * FROM lane WHERE id = :lane")
        row = connection.execute(query, {"lane": lane}).one_or_none()
        if row is None:
            raise RefusedError(f"there is no lane {lane}")
        return _again(connection, row.run_id, [row], by, now)


def _again(connection: Connection, run: int, rows: list[Row[Any]], by: str, now: float) -> int:
    for row in rows:
        if row.state not in TERMINAL:
            raise RefusedError(f"lane {row.id} is not over: {row.state}", "cancel it first")
    rows = [row for row in rows if row.plan_path is not None]
    if not rows:
        raise RefusedError("no lane of it has a plan", "fix what planning said, and push")
    new = int(connection.execute(_COPY, {"run": run, "by": by, "now": now}).scalar_one())
    enqueue(connection, new, [_copied(connection, row) for row in rows], now)
    return new


def _copied(connection: Connection, row: Row[Any]) -> NewLane:
    query = text("SELECT labels FROM label_set WHERE id = :id")
    labels = connection.execute(query, {"id": row.label_set_id}).scalar_one()
    return NewLane(
        name=row.name,
        title=row.title,
        target=row.target,
        klass=LaneClass.MANUAL,
        group_name=row.group_name,
        labels=tuple(parse_labels(labels)),
        why=row.why,
        plan_path=row.plan_path,
        plan_digest=row.plan_digest,
        required=bool(row.required),
        rerun_of=row.id,
    )


def supersede(connection: Connection, run: int, now: float) -> None:
    """A newer head has come: older runs of the same ref and kind are no longer waited for.

    Queued lanes are cancelled; running ones only if the repository says so.
    """
    for older, cancels_running in connection.execute(_OLDER, {"run": run}).all():
        mark = text("UPDATE ci_run SET superseded_by = :run WHERE id = :older")
        connection.execute(mark, {"run": run, "older": older})
        why = f"superseded by run {run}"
        cancel_queued(connection, older, "the forge", why, now, running=bool(cancels_running))


def cancel_queued(
    connection: Connection, run: int, by: str, why: str, now: float, *, running: bool = False
) -> None:
    """Cancel what of a run has not begun; with `running`, what has, too."""
    for row in lanes_of(connection, run) or []:
        if row.state == "queued" or (row.state == "running" and running):
            cancel(connection, row, by, why, now)
    plain = text("""
        UPDATE ci_run SET state = 'cancelled', finished_at = :now, message = :why
        WHERE id = :run AND state = 'planning'
    """)
    connection.execute(plain, {"run": run, "now": now, "why": why})


def recover_run(database: Database, run: int, by: str, why: str) -> int:
    """Bring a run to an end that can't end by itself; how many lanes were failed.

    Lanes that no worker holds any more are failed; lanes that are all over give the run its state.
    """
    with database.write() as connection:
        now = database.clock(connection)
        rows = lanes_of(connection, run)
        if rows is None:
            raise RefusedError(f"there is no run {run}")
        held = text("SELECT lane_id FROM lease WHERE expires_at > :now")
        alive = set(connection.execute(held, {"now": now}).scalars())
        stuck = [row for row in rows if row.state not in {*TERMINAL, "queued"}]
        stuck = [row for row in stuck if row.id not in alive]
        cause = {"code": "recovered", "message": f"recovered by {by}: {why}"}
        for row in stuck:
            ending = Ending(LaneState.FAILED, "infrastructure", cause)
            from pika_git.persistence.queue.ending import leave_run

            leave_run(connection, row.id, "lost", now, ending)
            end_lane(connection, row.id, LaneState.FAILED, now, ending)
        if rows:
            settle_run(connection, run, now)
        else:
            end = text("""
                UPDATE ci_run SET state = 'failed', finished_at = :now, message = :why
                WHERE id = :run AND finished_at IS NULL
            """)
            connection.execute(end, {"run": run, "now": now, "why": json.loads(json.dumps(why))})
        return len(stuck)
