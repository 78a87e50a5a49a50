"""Taking the lane that is next."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence import health
from pika_git.persistence.lines import facts, turns
from pika_git.persistence.lines.reason import stop_waiting
from pika_git.persistence.queue.due import is_time, look_at_time
from pika_git.persistence.queue.model import AGE_BOUND_SECS, LEASE_SECS, Claim

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from pika_git.persistence.database import Database
    from pika_git.persistence.lines.facts import Facts, Worker

MOST_DAMAGED = 100
"""So many rows that were changed by hand are passed over in a claim; the next claim continues."""

_IS_READY = text("SELECT 1 FROM lane WHERE ready = 1 LIMIT 1")
# Of each label set that fits only the first lane is looked at, by an index that is in this order.
_OLDEST = text("""
    SELECT lane.id FROM lane WHERE lane.id IN (
        SELECT (SELECT id FROM lane WHERE label_set_id = fitting.value AND ready = 1
                  AND enqueued_at < :bound ORDER BY enqueued_at, id LIMIT 1)
        FROM json_each(:fitting) AS fitting)
    ORDER BY enqueued_at, id LIMIT 1
""")
_NEXT = text("""
    SELECT lane_id FROM turn WHERE lane_id IN (
        SELECT (SELECT lane_id FROM turn WHERE label_set_id = fitting.value AND lane_id IS NOT NULL
                ORDER BY class, served, enqueued_at, lane_id LIMIT 1)
        FROM json_each(:fitting) AS fitting)
    ORDER BY class, served, enqueued_at, lane_id LIMIT 1
""")
_TAKE = text("""
    UPDATE lane SET state = 'running', token = token + 1, started_at = coalesce(started_at, :now)
    WHERE id = :lane AND state = 'queued' AND ready = 1
    RETURNING id, token, repo_id, class AS klass, group_name, label_set_id, ref
""")
_ATTEMPT = text("""
    INSERT INTO attempt (lane_id, number, token, pikaci_run_id, worker_id, host, state, claimed_at)
    SELECT :lane, coalesce(max(number), 0) + 1, :token, :run, :worker, :host, 'running', :now
    FROM attempt WHERE lane_id = :lane
    RETURNING id
""")
_LEASE = text("""
    INSERT INTO lease (lane_id, token, worker_id, expires_at, progress_at)
    VALUES (:lane, :token, :worker, :expires, :now)
    ON CONFLICT (lane_id) DO UPDATE SET
        token = :token, worker_id = :worker, expires_at = :expires, progress = -1,
        progress_at = :now
""")
_HOLD = text("""
    INSERT INTO group_hold (repo_id, group_name, lane_id, since) VALUES (:repo, :group, :lane, :now)
""")
_RUN_BEGINS = text("""
    UPDATE ci_run SET state = 'running'
    WHERE state = 'queued' AND id = (SELECT run_id FROM lane WHERE id = :lane)
""")
_CLAIM = text("""
    SELECT lane.id AS lane_id, lane.token, attempt.id AS attempt_id,
        attempt.number AS attempt_number, attempt.pikaci_run_id, lane.repo_id,
        repo.name AS repo_name, lane.ref = repo.default_branch AS trusted,
        lane.run_id, lane.ref, ci_run.head, lane.name, lane.target,
        lane.plan_path, ci_run.created_by AS "by", lane.state = 'cancelling' AS cancelling
    FROM lane JOIN repo ON repo.id = lane.repo_id JOIN ci_run ON ci_run.id = lane.run_id
    JOIN attempt ON attempt.lane_id = lane.id
    WHERE lane.id = :lane ORDER BY attempt.number DESC LIMIT 1
""")


def claim(database: Database, worker: int) -> Claim | None:
    """Take the lane that is next for this worker; None if there is none or no slot is free."""
    with database.read() as connection:
        now = database.clock(connection)
        if connection.execute(_IS_READY).first() is None and not is_time(connection, now):
            return None
    with database.write() as connection:
        now = database.clock(connection)
        look_at_time(connection, now)
        found = facts.load(connection, now)
        own = next((each for each in found.workers if each.id == worker), None)
        if own is None or not own.has_room:
            return None
        closed = found.hosts.get(own.host)
        if closed is not None and (not closed.on_trial or closed.probe is not None):
            return None
        return _take_next(connection, found, own)


def _take_next(connection: Connection, found: Facts, worker: Worker) -> Claim | None:
    fitting = [key for key, labels in found.label_sets.items() if labels <= worker.labels]
    values = {"fitting": json.dumps(fitting), "bound": found.now - AGE_BOUND_SECS}
    for _ in range(MOST_DAMAGED):
        lane = connection.execute(_OLDEST, values).scalar_one_or_none()
        if lane is None:
            lane = connection.execute(_NEXT, values).scalar_one_or_none()
        if lane is None:
            return None
        row = connection.execute(_TAKE, {"lane": lane, "now": found.now}).one_or_none()
        if row is not None:
            return _take(connection, row, worker, found.now)
        turns.repair(connection, lane)
    return None


def _take(connection: Connection, taken: Row[Any], worker: Worker, now: float) -> Claim:
    values = {"lane": taken.id, "token": taken.token, "run": new_run_id(), "worker": worker.id}
    values |= {"host": worker.host, "now": now}
    attempt = connection.execute(_ATTEMPT, values).scalar_one()
    lease(connection, taken.id, taken.token, worker.id, now)
    stop_waiting(connection, taken.id, now)
    turns.settle(connection, [taken])
    turns.served(connection, taken.repo_id, taken.ref, attempt)
    if taken.group_name is not None:
        connection.execute(_HOLD, {**values, "repo": taken.repo_id, "group": taken.group_name})
    connection.execute(_RUN_BEGINS, values)
    health.probe_host(connection, worker.host, taken.id, now)
    return read_claim(connection, taken.id)


def lease(connection: Connection, lane: int, token: int, worker: int, now: float) -> None:
    """Give a lane to a worker for LEASE_SECS."""
    values = {"lane": lane, "token": token, "worker": worker, "now": now}
    connection.execute(_LEASE, {**values, "expires": now + LEASE_SECS})


def read_claim(connection: Connection, lane: int, *, adopted: bool = False) -> Claim:
    """The claim of a lane that has an attempt."""
    row = connection.execute(_CLAIM, {"lane": lane}).one()._asdict()
    flags = {name: bool(row[name]) for name in ("cancelling", "trusted")}
    return Claim(**{**row, **flags}, adopted=adopted)


def new_run_id() -> str:
    """An id for the run of an attempt, by this machine's clock: it names, and orders nothing."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(4).hex()}"
