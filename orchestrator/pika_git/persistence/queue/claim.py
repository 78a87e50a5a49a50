"""Taking lanes: those that wait, and those whose worker is gone."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence import health
from pika_git.persistence.queue.entry import SET_TURN, place
from pika_git.persistence.queue.model import AGE_BOUND_SECS, LEASE_SECS, Claim, Reason
from pika_git.persistence.queue.reasons import set_reason, stop_waiting
from pika_git.persistence.queue.sweep import look_at_time
from pika_git.persistence.wakes import wake
from pika_git.persistence.workers import parse_labels

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from pika_git.persistence.database import Database

_WORKER = text("""
    SELECT worker.*, (SELECT count(*) FROM lease WHERE lease.worker_id = worker.id) AS busy
    FROM worker WHERE id = :worker
""")
_IS_READY = text("SELECT 1 FROM lane WHERE ready = 1 LIMIT 1")
_LABEL_SETS = text("SELECT id, labels FROM label_set")
_OLDEST = text("""
    SELECT id, enqueued_at FROM lane WHERE ready = 1 AND label_set_id = :labels
      AND enqueued_at < :bound
    ORDER BY enqueued_at, id LIMIT 1
""")
_NEXT = text("""
    SELECT id, class, turn, enqueued_at FROM lane WHERE ready = 1 AND label_set_id = :labels
    ORDER BY class, turn, enqueued_at, id LIMIT 1
""")
_TAKE = text("""
    UPDATE lane SET state = 'running', token = token + 1, started_at = coalesce(started_at, :now)
    WHERE id = :lane AND state = 'queued' AND ready = 1
    RETURNING token, repo_id, class, turn, group_name
""")
_ATTEMPT = text("""
    INSERT INTO attempt (lane_id, number, token, pikaci_run_id, worker_id, host, state, claimed_at)
    SELECT :lane, coalesce(max(number), 0) + 1, :token, :run, :worker, :host, 'running', :now
    FROM attempt WHERE lane_id = :lane
""")
_LEASE = text("""
    INSERT INTO lease (lane_id, token, worker_id, expires_at, progress_at)
    VALUES (:lane, :token, :worker, :expires, :now)
    ON CONFLICT (lane_id) DO UPDATE SET token = :token, worker_id = :worker, expires_at = :expires
""")
_HOLD = text("""
    INSERT INTO group_hold (repo_id, group_name, lane_id, since) VALUES (:repo, :group, :lane, :now)
""")
_RUN_BEGINS = text("""
    UPDATE ci_run SET state = 'running' WHERE state = 'queued'
      AND id = (SELECT run_id FROM lane WHERE id = :lane)
""")
_CLAIM = text("""
    SELECT lane.id AS lane_id, lane.token, attempt.id AS attempt_id,
        attempt.number AS attempt_number, attempt.pikaci_run_id, lane.repo_id,
        repo.name AS repo_name, lane.run_id, lane.ref, ci_run.head, lane.name, lane.target,
        lane.plan_path, ci_run.created_by AS "by", lane.state = 'cancelling' AS cancelling
    FROM lane JOIN repo ON repo.id = lane.repo_id JOIN ci_run ON ci_run.id = lane.run_id
    JOIN attempt ON attempt.lane_id = lane.id
    WHERE lane.id = :lane ORDER BY attempt.number DESC LIMIT 1
""")
_LOST = text("""
    SELECT lease.lane_id FROM lease JOIN worker ON worker.id = lease.worker_id
    JOIN lane ON lane.id = lease.lane_id
    WHERE lease.expires_at <= :now AND worker.host = :host
      AND lane.state IN ('running', 'cancelling')
    ORDER BY lease.lane_id
""")
_ADOPT = text("UPDATE lane SET token = token + 1 WHERE id = :lane RETURNING token")
_ADOPT_ATTEMPT = text("""
    UPDATE attempt SET token = :token, worker_id = :worker
    WHERE id = (SELECT id FROM attempt WHERE lane_id = :lane ORDER BY number DESC LIMIT 1)
""")


def claim(database: Database, worker: int) -> Claim | None:
    """Take the lane that is next for this worker; None if there is none or no slot is free."""
    with database.read() as connection:
        ahead = connection.execute(_IS_READY).first()
        if ahead is None and not look_at_time(connection, database.clock(connection), dry=True):
            return None
    with database.write() as connection:
        now = database.clock(connection)
        look_at_time(connection, now)
        row = connection.execute(_WORKER, {"worker": worker}).one()
        if row.state != "active" or row.busy >= row.slots:
            return None
        if health.closed_host(connection, row.host, now) is not None:
            return None
        lane = _next(connection, parse_labels(row.labels), now)
        if lane is None:
            return None
        return _take(connection, lane, row, now)


def _next(connection: Connection, has: frozenset[str], now: float) -> int | None:
    sets = connection.execute(_LABEL_SETS).all()
    fitting = [{"labels": row.id} for row in sets if parse_labels(row.labels) <= has]
    bound = now - AGE_BOUND_SECS
    old = [connection.execute(_OLDEST, {**each, "bound": bound}).one_or_none() for each in fitting]
    first = min(
        (row for row in old if row), key=lambda row: (row.enqueued_at, row.id), default=None
    )
    if first is not None:
        return int(first.id)
    rows = [connection.execute(_NEXT, each).one_or_none() for each in fitting]
    found = min((row for row in rows if row), key=lambda row: (*row[1:], row.id), default=None)
    return None if found is None else int(found.id)


def _take(connection: Connection, lane: int, worker: Row[Any], now: float) -> Claim:
    values: dict[str, Any] = {"lane": lane, "now": now, "worker": worker.id, "host": worker.host}
    taken = connection.execute(_TAKE, values).one()
    values |= {"token": taken.token, "run": new_run_id(), "expires": now + LEASE_SECS}
    stop_waiting(connection, lane, now)
    connection.execute(_ATTEMPT, values)
    connection.execute(_LEASE, values)
    passed = {"class": taken[2], "repo": 0, "ref": "", "turn": taken.turn}
    connection.execute(SET_TURN, passed)
    if taken.group_name is not None:
        connection.execute(_HOLD, {**values, "repo": taken.repo_id, "group": taken.group_name})
    connection.execute(_RUN_BEGINS, values)
    health.probe_host(connection, worker.host, lane, now)
    return Claim(**connection.execute(_CLAIM, values).one()._asdict())


def adoptable(database: Database, worker: int) -> list[Claim]:
    """Take over the lanes of this host that have no worker any more, with their runs."""
    with database.write() as connection:
        now = database.clock(connection)
        host = connection.execute(_WORKER, {"worker": worker}).one().host
        lanes = connection.execute(_LOST, {"now": now, "host": host}).scalars().all()
        return [_adopt(connection, lane, worker, now) for lane in lanes]


def _adopt(connection: Connection, lane: int, worker: int, now: float) -> Claim:
    values = {"lane": lane, "worker": worker, "now": now, "expires": now + LEASE_SECS}
    values["token"] = connection.execute(_ADOPT, values).scalar_one()
    connection.execute(_ADOPT_ATTEMPT, values)
    connection.execute(_LEASE, values)
    row = connection.execute(_CLAIM, values).one()
    return Claim(**row._asdict(), adopted=True)


def never_started(database: Database, lane: int, token: int) -> bool:
    """An adopted lane's run does not exist: it waits again, with its attempt noted as lost."""
    from pika_git.persistence.queue.ending import leave_run

    with database.write() as connection:
        now = database.clock(connection)
        query = text("SELECT state FROM lane WHERE id = :lane AND token = :token")
        state = connection.execute(query, {"lane": lane, "token": token}).scalar_one_or_none()
        if state not in {"running", "cancelling"}:
            return False
        leave_run(connection, lane, "lost", now)
        if state == "cancelling":
            from pika_git.persistence.queue.ending import end_lane

            end_lane(connection, lane, "cancelled", now)
        else:
            back_to_queue(connection, lane, Reason.STALE_RECOVERED, now)
        return True


def back_to_queue(connection: Connection, lane: int, reason: Reason, now: float) -> None:
    """Let a lane wait again; it keeps its place in the order."""
    query = text("UPDATE lane SET state = 'queued', token = token + 1 WHERE id = :lane")
    connection.execute(query, {"lane": lane})
    if reason is Reason.STALE_RECOVERED:
        set_reason(connection, lane, reason, now, {"why": "its run never started"})
    place(connection, lane, now)
    wake(connection, f"lane {lane} is queued again", now)


def new_run_id() -> str:
    """An id for the run of an attempt, by this machine's clock: it names, and orders nothing."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(4).hex()}"
