"""What a run's end makes of its lane: a verdict, or another attempt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence import counters, health
from pika_git.persistence.lines import facts, leaving, placing, turns
from pika_git.persistence.queue.entry import back_to_queue
from pika_git.persistence.queue.model import (
    RETRIES_PER_HEAD,
    RETRIES_PER_LANE,
    Budget,
    Ending,
    LaneState,
)
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from pika_git.persistence.database import Database

LANE = text("""
    SELECT lane.id, lane.run_id, lane.repo_id, lane.ref, lane.class AS klass, lane.target,
        lane.group_name, lane.label_set_id, lane.state, lane.token, lane.ready, lane.retries_used,
        lane.failure_kind, lane.cause, lane.plan_path, lane.cancel_by, ci_run.head,
        ci_run.superseded_by, lease.expires_at
    FROM lane JOIN ci_run ON ci_run.id = lane.run_id LEFT JOIN lease ON lease.lane_id = lane.id
    WHERE lane.id = :lane
""")
_ATTEMPT = text("SELECT state FROM attempt WHERE lane_id = :lane AND token = :token")
_ATTEMPT_ENDS = text("""
    UPDATE attempt SET state = :state, failure_kind = :kind, cause = :cause, exit_code = :exit_code,
        finished_at = :now
    WHERE lane_id = :lane AND state = 'running'
    RETURNING host
""")
_REFUSED = text("""
    UPDATE attempt SET refused = :what
    WHERE id = (SELECT id FROM attempt WHERE lane_id = :lane AND token >= :token
                ORDER BY token LIMIT 1)
""")
_LEASE_ENDS = text("DELETE FROM lease WHERE lane_id = :lane")
_RELEASE = text("UPDATE group_hold SET until = :now WHERE lane_id = :lane AND until IS NULL")
_RETRIES_OF_HEAD = text("""
    SELECT coalesce(sum(lane.retries_used), 0) FROM ci_run JOIN lane ON lane.run_id = ci_run.id
    WHERE ci_run.repo_id = :repo AND ci_run.head = :head
""")
_USE_RETRY = text("UPDATE lane SET retries_used = retries_used + 1 WHERE id = :lane")
_CANCEL_NOTE = text("""
    UPDATE lane SET cancel_by = :by, cancel_reason = :why WHERE id = :lane AND cancel_by IS NULL
""")


def finish(database: Database, lane: int, token: int, ending: Ending) -> bool:
    """Take what a worker says became of its lane; False if it has another token by now.

    Such a result is kept with the attempt as refused. One that was taken before is taken again. A
    failure by infrastructure goes back to the queue while there is budget for it.
    """
    with database.write() as connection:
        now = database.clock(connection)
        row = connection.execute(LANE, {"lane": lane}).one_or_none()
        if row is None:
            return False
        is_its_own = row.token == token
        if not is_its_own or row.state not in {"running", "cancelling"}:
            values = {"lane": lane, "token": token}
            before = connection.execute(_ATTEMPT, values).scalar_one_or_none()
            if is_its_own and before == ending.state:
                return True
            what = f"{ending.state} came late: the lane was no longer this worker's"
            connection.execute(_REFUSED, {**values, "what": what})
            counters.count(connection, "refused_results")
            return False
        _finish(connection, row, ending, now)
        return True


def _finish(connection: Connection, row: Row[Any], ending: Ending, now: float) -> None:
    host = leave_run(connection, row, ending.state, now, ending)
    ending = _verdict(row, ending)
    changes = health.Changes()
    if ending.state in {LaneState.SUCCESS, LaneState.FAILED} and not is_failed_by_hand(row):
        changes = health.record(
            connection,
            repo=row.repo_id,
            target=row.target,
            host=host,
            lane=row.id,
            failure_kind=ending.failure_kind,
            why=(ending.cause or {}).get("message"),
            now=now,
        )
    changes.targets |= health.release_probe(connection, row.id, now).targets
    is_infrastructure = ending.failure_kind == "infrastructure" and row.state == "running"
    if is_infrastructure and row.superseded_by is not None:
        ending = _superseded(connection, row)
    elif is_infrastructure and not ending.is_final and budget(connection, row).is_left:
        connection.execute(_USE_RETRY, {"lane": row.id})
        back_to_queue(connection, health.place(connection, changes, now), row.id, row.run_id)
        return
    end_lane(connection, health.place(connection, changes, now), row, ending)


def _verdict(row: Row[Any], ending: Ending) -> Ending:
    """What the run's end means for the lane: a verdict counts though a cancel was on its way."""
    if row.state == "cancelling":
        if is_failed_by_hand(row):
            return failed_by_hand(row)
        if ending.state is LaneState.CANCELLED or ending.failure_kind == "infrastructure":
            return Ending(LaneState.CANCELLED)
        return ending
    if ending.state is LaneState.CANCELLED:
        cause = {"code": "cancelled", "message": "its run was cancelled, and not by the forge"}
        return Ending(LaneState.FAILED, "infrastructure", cause, ending.exit_code)
    return ending


def is_failed_by_hand(row: Row[Any]) -> bool:
    """Whether this lane is to be failed by hand once its run is gone."""
    return row.state == "cancelling" and row.failure_kind is not None


def failed_by_hand(row: Row[Any]) -> Ending:
    """How such a lane ends."""
    try:
        cause = json.loads(row.cause or "null")
    except ValueError:
        cause = None
    return Ending(LaneState.FAILED, row.failure_kind, cause)


def budget(connection: Connection, row: Row[Any]) -> Budget:
    """The retries that a lane and its head had."""
    values = {"repo": row.repo_id, "head": row.head}
    of_head = int(connection.execute(_RETRIES_OF_HEAD, values).scalar_one())
    return Budget(row.retries_used, RETRIES_PER_LANE, of_head, RETRIES_PER_HEAD)


def retries(connection: Connection, lane: int) -> Budget | None:
    """The retries that a lane and its head had; None if there is no such lane."""
    row = connection.execute(LANE, {"lane": lane}).one_or_none()
    return None if row is None else budget(connection, row)


def leave_run(
    connection: Connection, row: Row[Any], state: str, now: float, ending: Ending | None = None
) -> str:
    """The run of a lane is gone: its attempt ends, its lease and its group are free; the host."""
    cause = ending.cause if ending else None
    values = {
        "lane": row.id,
        "state": state,
        "now": now,
        "kind": ending.failure_kind if ending else None,
        "cause": None if cause is None else json.dumps(cause),
        "exit_code": ending.exit_code if ending else None,
    }
    host = connection.execute(_ATTEMPT_ENDS, values).scalar_one_or_none()
    connection.execute(_LEASE_ENDS, values)
    connection.execute(_RELEASE, values)
    wake(connection, f"lane {row.id} left its run", now)
    return str(host or "")


def end_lane(connection: Connection, found: facts.Facts, row: Row[Any], ending: Ending) -> None:
    """Bring a lane to a terminal state, and let those go that waited for it."""
    state, kind, cause = ending.state, ending.failure_kind, ending.cause
    leaving.end(connection, row.id, row.run_id, state, found.now, kind, cause)
    turns.settle(connection, [row])
    placing.free_group(connection, found, row.repo_id, row.group_name)


def recover(connection: Connection, row: Row[Any], why: str, now: float) -> None:
    """The run of a lane is known to be gone without a verdict: it waits again, or is cancelled."""
    leave_run(connection, row, "lost", now)
    found = health.place(connection, health.release_probe(connection, row.id, now), now)
    if row.state == "cancelling":
        by_hand = is_failed_by_hand(row)
        ending = failed_by_hand(row) if by_hand else Ending(LaneState.CANCELLED)
        end_lane(connection, found, row, ending)
    elif row.superseded_by is not None:
        _new_token(connection, row.id)
        end_lane(connection, found, row, _superseded(connection, row))
    else:
        _new_token(connection, row.id)
        back_to_queue(connection, found, row.id, row.run_id, recovered=why)


def _superseded(connection: Connection, row: Row[Any]) -> Ending:
    """How a lane ends that would run again if its run were not superseded."""
    why = {"lane": row.id, "by": "forge", "why": f"superseded by run {row.superseded_by}"}
    connection.execute(_CANCEL_NOTE, why)
    return Ending(LaneState.CANCELLED)


def _new_token(connection: Connection, lane: int) -> None:
    query = text("UPDATE lane SET token = token + 1 WHERE id = :lane")
    connection.execute(query, {"lane": lane})


def never_started(database: Database, lane: int, token: int) -> bool:
    """An adopted lane's run does not exist: it waits again, with its attempt noted as lost."""
    with database.write() as connection:
        row = connection.execute(LANE, {"lane": lane}).one_or_none()
        if row is None or row.token != token or row.state not in {"running", "cancelling"}:
            return False
        recover(connection, row, "its run never started", database.clock(connection))
        return True
