"""What people do to a lane: cancel it, fail it, queue it again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence import health
from pika_git.persistence.lines.leaving import TERMINAL
from pika_git.persistence.queue.ending import (
    LANE,
    end_lane,
    failed_by_hand,
    is_failed_by_hand,
    leave_run,
    recover,
)
from pika_git.persistence.queue.entry import back_to_queue
from pika_git.persistence.queue.model import Ending, LaneState, RefusedError
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from pika_git.persistence.database import Database

_NOTE = text("UPDATE lane SET cancel_by = :by, cancel_reason = :why WHERE id = :lane")
_CANCELLING = text("UPDATE lane SET state = 'cancelling' WHERE id = :lane")
_TO_BE_FAILED = text("""
    UPDATE lane SET state = 'cancelling', failure_kind = 'infrastructure', cause = :cause
    WHERE id = :lane
""")
_NEW_BUDGET = text("UPDATE lane SET retries_used = 0 WHERE id = :lane")
_IS_RUN = text("SELECT 1 FROM ci_run WHERE id = :run")
_CANCEL_PLANNING = text("""
    UPDATE ci_run SET state = 'cancelled', finished_at = :now, message = :message
    WHERE id = :run AND state = 'planning'
""")
_LANES = text("SELECT id FROM lane WHERE run_id = :run ORDER BY id")
_NEW_TOKEN = text("UPDATE lane SET token = token + 1 WHERE id = :lane")


def cancel_lane(database: Database, lane: int, by: str, why: str) -> None:
    """Cancel a lane: at once if it waits, else when its run is gone.

    The lease of one that is being cancelled may be over, with no worker of its host back: then
    cancelling it once more says that its run is gone.
    """
    with database.write() as connection:
        now = database.clock(connection)
        row = get_lane(connection, lane)
        if row.state in TERMINAL:
            raise RefusedError(f"lane {lane} is over: {row.state}", "there is nothing to cancel")
        if row.state != "cancelling":
            cancel(connection, row, by, why, now)
        elif is_alive(row, now):
            raise RefusedError(f"lane {lane} is being cancelled", "wait for its run to end")
        else:
            give_up(connection, row, now)


def cancel_run(database: Database, run: int, by: str, why: str) -> int:
    """Cancel all lanes of a run that are not over; how many. One that is being planned has none."""
    with database.write() as connection:
        now = database.clock(connection)
        message = f"cancelled by {by}" + (f": {why}" if why else "")
        values = {"run": run, "now": now, "message": message}
        if connection.execute(_CANCEL_PLANNING, values).rowcount:
            wake(connection, f"run {run} was cancelled", now)
            return 0
        rows = [row for row in get_lanes(connection, run) if row.state not in TERMINAL]
        if not rows:
            raise RefusedError(f"run {run} is over", "there is nothing to cancel")
        for row in rows:
            cancel(connection, row, by, why, now)
        return len(rows)


def cancel(connection: Connection, row: Row[Any], by: str, why: str, now: float) -> None:
    """Cancel a lane that isn't over; one that is being cancelled keeps its first reason."""
    if row.state == "cancelling":
        return
    connection.execute(_NOTE, {"lane": row.id, "by": by, "why": why})
    if row.state == "queued":
        leave_queue(connection, row, Ending(LaneState.CANCELLED), now)
    else:
        connection.execute(_CANCELLING, {"lane": row.id})
        wake(connection, f"lane {row.id} is to be cancelled", now)


def fail_lane(database: Database, lane: int, by: str, why: str) -> None:
    """End a lane as failed: at once if it waits or its lease is over, else when its run is gone."""
    with database.write() as connection:
        now = database.clock(connection)
        row = get_lane(connection, lane)
        if row.state in TERMINAL:
            raise RefusedError(f"lane {lane} is over: {row.state}")
        cause = {"code": "failed_by_hand", "message": f"failed by {by}: {why}"}
        if row.state == "queued":
            leave_queue(connection, row, Ending(LaneState.FAILED, "infrastructure", cause), now)
            return
        connection.execute(_TO_BE_FAILED, {"lane": lane, "cause": json.dumps(cause)})
        if is_alive(row, now):
            wake(connection, f"lane {lane} is to be ended", now)
        else:
            give_up(connection, get_lane(connection, lane), now)


def fail_unplanned(connection: Connection, lane: int, cause: dict[str, Any], now: float) -> None:
    """End a lane that was just queued and has no plan; `cause` says why."""
    leave_queue(connection, get_lane(connection, lane), Ending(LaneState.FAILED, None, cause), now)


def requeue(database: Database, lane: int, by: str, why: str) -> None:
    """Let a lane run again, as another attempt: one that failed or was cancelled or skipped.

    One that runs is requeued if its lease is over: this says that its run is gone. `by` and `why`
    are for the audit.
    """
    del by, why
    with database.write() as connection:
        now = database.clock(connection)
        row = get_lane(connection, lane)
        if row.state == "running" and not is_alive(row, now):
            recover(connection, row, "its worker was gone", now)
            return
        if row.state not in {"failed", "cancelled", "skipped"}:
            hint = "rerun it instead" if row.state in TERMINAL else "cancel it first"
            raise RefusedError(f"lane {lane} is {row.state}: it can't be queued again", hint)
        if row.superseded_by is not None:
            what = f"run {row.run_id} was superseded by run {row.superseded_by}"
            raise RefusedError(what, "rerun the lane if it is wanted all the same")
        if row.plan_path is None:
            raise RefusedError(f"lane {lane} has no plan", "fix what planning said, and push")
        connection.execute(_NEW_BUDGET, {"lane": lane})
        found = health.place(connection, health.Changes(), now)
        back_to_queue(connection, found, lane, row.run_id)


def leave_queue(connection: Connection, row: Row[Any], ending: Ending, now: float) -> None:
    """End a queued lane."""
    changes = health.release_probe(connection, row.id, now)
    end_lane(connection, health.place(connection, health.Changes(), now), row, ending)
    health.place(connection, changes, now)


def give_up(connection: Connection, row: Row[Any], now: float) -> None:
    """End a lane whose lease is over; a result that comes all the same is refused."""
    leave_run(connection, row, "lost", now)
    connection.execute(_NEW_TOKEN, {"lane": row.id})
    found = health.place(connection, health.release_probe(connection, row.id, now), now)
    by_hand = is_failed_by_hand(row)
    ending = failed_by_hand(row) if by_hand else Ending(LaneState.CANCELLED)
    end_lane(connection, found, row, ending)


def is_alive(row: Row[Any], now: float) -> bool:
    """Whether a worker holds the lane."""
    return row.expires_at is not None and row.expires_at > now


def get_lane(connection: Connection, lane: int) -> Row[Any]:
    """A lane with its lease's end and its run's head."""
    row = connection.execute(LANE, {"lane": lane}).one_or_none()
    if row is None:
        raise RefusedError(f"there is no lane {lane}")
    return row


def get_lanes(connection: Connection, run: int) -> list[Row[Any]]:
    """The lanes of a run, by id."""
    if connection.execute(_IS_RUN, {"run": run}).first() is None:
        raise RefusedError(f"there is no run {run}")
    lanes = connection.execute(_LANES, {"run": run}).scalars().all()
    return [get_lane(connection, lane) for lane in lanes]
