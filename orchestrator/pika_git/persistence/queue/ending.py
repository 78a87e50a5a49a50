"""How a lane ends, or comes back to the queue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence import counters, health
from pika_git.persistence.queue.entry import advance
from pika_git.persistence.queue.model import (
    RETRIES_PER_HEAD,
    RETRIES_PER_LANE,
    TERMINAL,
    Ending,
    LaneState,
    Reason,
    RefusedError,
)
from pika_git.persistence.queue.reasons import stop_waiting
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from pika_git.persistence.database import Database

_LANE = text("""
    SELECT lane.*, ci_run.head, ci_run.created_by FROM lane JOIN ci_run ON ci_run.id = lane.run_id
    WHERE lane.id = :lane
""")
_ATTEMPT_ENDS = text("""
    UPDATE attempt SET state = :state, failure_kind = :kind, cause = :cause, exit_code = :exit_code,
        finished_at = :now
    WHERE state = 'running'
      AND id = (SELECT id FROM attempt WHERE lane_id = :lane ORDER BY number DESC LIMIT 1)
""")
_REFUSED = text("""
    UPDATE attempt SET refused = :what
    WHERE id = (SELECT id FROM attempt WHERE lane_id = :lane AND token <= :token
                ORDER BY number DESC LIMIT 1)
""")
_RELEASE = text("UPDATE group_hold SET until = :now WHERE lane_id = :lane AND until IS NULL")
_END = text("""
    UPDATE lane SET state = :state, token = token + 1, finished_at = :now, ready = 0,
        failure_kind = :kind, cause = :cause
    WHERE id = :lane
""")
_RETRIES_OF_HEAD = text("""
    SELECT coalesce(sum(lane.retries_used), 0) FROM lane JOIN ci_run ON ci_run.id = lane.run_id
    WHERE ci_run.repo_id = :repo AND ci_run.head = :head
""")
_STATES = text("SELECT state, count(*) FROM lane WHERE run_id = :run GROUP BY state")
_RUN_ENDS = text("""
    UPDATE ci_run SET state = :state, finished_at = :now
    WHERE id = :run AND (state != :state OR finished_at IS NOT :now)
""")


def finish(database: Database, lane: int, token: int, ending: Ending) -> bool:
    """Take what a worker says became of its lane; False if it has another token by now.

    Such a result is kept with the attempt as refused. A failure by infrastructure goes back to the
    queue while there is budget for it.
    """
    with database.write() as connection:
        now = database.clock(connection)
        row = connection.execute(_LANE, {"lane": lane}).one_or_none()
        if row is None:
            return False
        if row.token != token or row.state not in {"running", "cancelling"}:
            what = f"{ending.state} came late: the lane was no longer this worker's"
            connection.execute(_REFUSED, {"lane": lane, "token": token, "what": what})
            counters.count(connection, "refused_results")
            return False
        host = leave_run(connection, lane, ending.state, now, ending)
        if row.state == "cancelling":
            health.release_probe(connection, lane, now)
            end_lane(connection, lane, LaneState.CANCELLED, now)
            return True
        if ending.state is LaneState.CANCELLED:
            why = "its run was cancelled, and not by the forge"
            ending = Ending(
                LaneState.FAILED, "infrastructure", {"code": "cancelled", "message": why}
            )
        _record_health(connection, row, host, ending, now)
        if ending.failure_kind == "infrastructure" and _has_budget(connection, row):
            from pika_git.persistence.queue.claim import back_to_queue

            used = text("UPDATE lane SET retries_used = retries_used + 1 WHERE id = :lane")
            connection.execute(used, {"lane": lane})
            back_to_queue(connection, lane, Reason.QUEUED, now)
        else:
            end_lane(connection, lane, ending.state, now, ending)
        return True


def _record_health(
    connection: Connection, row: Row[Any], host: str, ending: Ending, now: float
) -> None:
    if ending.state is LaneState.SKIPPED:
        health.release_probe(connection, row.id, now)
        return
    health.record(
        connection,
        repo=row.repo_id,
        target=row.target,
        host=host,
        lane=row.id,
        failure_kind=ending.failure_kind,
        why=(ending.cause or {}).get("message"),
        now=now,
    )


def _has_budget(connection: Connection, row: Row[Any]) -> bool:
    values = {"repo": row.repo_id, "head": row.head}
    of_head = connection.execute(_RETRIES_OF_HEAD, values).scalar_one()
    return bool(row.retries_used < RETRIES_PER_LANE and of_head < RETRIES_PER_HEAD)


def leave_run(
    connection: Connection, lane: int, state: str, now: float, ending: Ending | None = None
) -> str:
    """The run of a lane is gone: its attempt ends, its lease and its group are free; the host."""
    cause = ending.cause if ending else None
    values = {"lane": lane, "state": state, "now": now}
    values |= {"kind": ending.failure_kind if ending else None}
    values |= {"cause": None if cause is None else json.dumps(cause)}
    values |= {"exit_code": ending.exit_code if ending else None}
    connection.execute(_ATTEMPT_ENDS, values)
    connection.execute(text("DELETE FROM lease WHERE lane_id = :lane"), values)
    connection.execute(_RELEASE, values)
    wake(connection, f"lane {lane} left its run", now)
    query = text("SELECT host FROM attempt WHERE lane_id = :lane ORDER BY number DESC LIMIT 1")
    return str(connection.execute(query, values).scalar_one_or_none() or "")


def end_lane(
    connection: Connection, lane: int, state: str, now: float, ending: Ending | None = None
) -> None:
    """Bring a lane to a terminal state, its group to the next in line, its run to its own state."""
    cause = ending.cause if ending else None
    values = {"lane": lane, "state": state, "now": now}
    values |= {"kind": ending.failure_kind if ending else None}
    values |= {"cause": None if cause is None else json.dumps(cause)}
    stop_waiting(connection, lane, now)
    connection.execute(_END, values)
    row = connection.execute(_LANE, values).one()
    if row.group_name is not None:
        advance(connection, row.repo_id, row.group_name, now)
    settle_run(connection, row.run_id, now)
    wake(connection, f"lane {lane} ended", now)


def settle_run(connection: Connection, run: int, now: float) -> None:
    """Let a run have the state that follows from its lanes."""
    counts = {row[0]: row[1] for row in connection.execute(_STATES, {"run": run})}
    if any(state not in TERMINAL for state in counts):
        begun = set(counts) - {"queued"}
        state, at = ("running" if begun else "queued"), None
    else:
        order = ("failed", "cancelled", "success", "skipped")
        state, at = next((each for each in order if each in counts), "skipped"), now
    connection.execute(_RUN_ENDS, {"run": run, "state": state, "now": at})


def fail_unplanned(connection: Connection, lane: int, cause: dict[str, Any], now: float) -> None:
    """End a lane that was just queued and has no plan; `cause` says why."""
    end_lane(connection, lane, LaneState.FAILED, now, Ending(LaneState.FAILED, None, cause))


def _get(connection: Connection, lane: int) -> Row[Any]:
    row = connection.execute(_LANE, {"lane": lane}).one_or_none()
    if row is None:
        raise RefusedError(f"there is no lane {lane}")
    return row


def cancel_lane(database: Database, lane: int, by: str, why: str) -> None:
    """Cancel a lane: at once if it waits, else when its run is gone."""
    with database.write() as connection:
        row = _get(connection, lane)
        if row.state in TERMINAL:
            raise RefusedError(f"lane {lane} is over: {row.state}", "there is nothing to cancel")
        cancel(connection, row, by, why, database.clock(connection))


def cancel(connection: Connection, row: Row[Any], by: str, why: str, now: float) -> None:
    """Cancel a lane that isn't over; one that is being cancelled keeps its first reason."""
    if row.state == "cancelling":
        return
    note = text("UPDATE lane SET cancel_by = :by, cancel_reason = :why WHERE id = :lane")
    connection.execute(note, {"lane": row.id, "by": by, "why": why})
    if row.state == "queued":
        health.release_probe(connection, row.id, now)
        end_lane(connection, row.id, LaneState.CANCELLED, now)
        return
    connection.execute(
        text("UPDATE lane SET state = 'cancelling' WHERE id = :lane"), {"lane": row.id}
    )
    wake(connection, f"lane {row.id} is to be cancelled", now)


def cancel_run(database: Database, run: int, by: str, why: str) -> int:
    """Cancel all lanes of a run that are not over; how many."""
    with database.write() as connection:
        now = database.clock(connection)
        rows = lanes_of(connection, run)
        if rows is None:
            raise RefusedError(f"there is no run {run}")
        open_rows = [row for row in rows if row.state not in TERMINAL]
        if not open_rows:
            raise RefusedError(f"run {run} is over", "there is nothing to cancel")
        for row in open_rows:
            cancel(connection, row, by, why, now)
        return len(open_rows)


def lanes_of(connection: Connection, run: int) -> list[Row[Any]] | None:
    """The lanes of a run, by id; None if there is no such run."""
    if connection.execute(text("SELECT 1 FROM ci_run WHERE id = :run"), {"run": run}).first():
        query = text("SELECT * FROM lane WHERE run_id = :run ORDER BY id")
        return list(connection.execute(query, {"run": run}).all())
    return None


def requeue(database: Database, lane: int, by: str, why: str) -> None:
    """Let a lane that failed or was cancelled run again, as another attempt.

    `by` and `why` are the audit's. A lane that was running when it was lost is requeued likewise.
    """
    del by, why
    from pika_git.persistence.queue.claim import back_to_queue

    with database.write() as connection:
        now = database.clock(connection)
        row = _get(connection, lane)
        if row.state not in {"failed", "cancelled"}:
            hint = "cancel it first" if row.state not in TERMINAL else "rerun it instead"
            raise RefusedError(f"lane {lane} is {row.state}, neither failed nor cancelled", hint)
        if row.plan_path is None:
            raise RefusedError(f"lane {lane} has no plan: {row.why}", "fix what planning said")
        again = text("""
            UPDATE lane SET finished_at = NULL, failure_kind = NULL, cause = NULL,
                cancel_by = NULL, cancel_reason = NULL, retries_used = 0
            WHERE id = :lane
        """)
        connection.execute(again, {"lane": lane})
        back_to_queue(connection, lane, Reason.QUEUED, now)
        settle_run(connection, row.run_id, now)


def fail_lane(database: Database, lane: int, by: str, why: str) -> None:
    """End a lane as failed by hand: one that waits at once, one whose run hangs when it is gone.

    For a lane with a live run this gives it no other worker: its token changes, so that the worker
    ends the run and its result is refused.
    """
    with database.write() as connection:
        now = database.clock(connection)
        row = _get(connection, lane)
        if row.state in TERMINAL:
            raise RefusedError(f"lane {lane} is over: {row.state}")
        cause = {"code": "failed_by_hand", "message": f"failed by {by}: {why}"}
        health.release_probe(connection, lane, now)
        ending = Ending(LaneState.FAILED, "infrastructure", cause)
        if row.state != "queued":
            leave_run(connection, lane, "failed", now, ending)
        end_lane(connection, lane, LaneState.FAILED, now, ending)
