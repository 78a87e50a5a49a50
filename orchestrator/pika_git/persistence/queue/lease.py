"""Keeping a lane while its run lives, and taking over those whose worker is gone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import text

from pika_git.persistence import counters, workers
from pika_git.persistence.queue.claim import lease, read_claim
from pika_git.persistence.queue.model import LEASE_SECS, RENEW_SECS, Renewal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from pika_git.persistence.database import Database
    from pika_git.persistence.queue.model import Claim

_LOG = logging.getLogger(__name__)

_RENEW = text("""
    UPDATE lease SET expires_at = :expires,
        progress_at = CASE WHEN :progress > progress THEN :now ELSE progress_at END,
        progress = max(progress, :progress)
    WHERE lane_id = :lane AND token = :token AND worker_id = :worker
""")
_CANCELLING = text("SELECT state = 'cancelling' FROM lane WHERE id = :lane AND token = :token")
_RUNS = text("SELECT 1 FROM attempt WHERE pikaci_run_id = :run AND state = 'running'")
_STARTED = text("""
    UPDATE attempt SET started_at = coalesce(started_at, :now)
    WHERE lane_id = :lane AND token = :token AND state = 'running'
""")
_ORPHANS = text("""
    SELECT lane.id FROM worker AS own
    JOIN worker ON worker.host = own.host
    JOIN lease ON lease.worker_id = worker.id
    JOIN lane ON lane.id = lease.lane_id
    WHERE own.id = :worker AND (lease.expires_at <= :now OR worker.state = 'gone')
      AND lane.state IN ('running', 'cancelling')
    ORDER BY lane.id
""")
_ADOPT = text("UPDATE lane SET token = token + 1 WHERE id = :lane RETURNING token")
_ADOPT_ATTEMPT = text("""
    UPDATE attempt SET token = :token, worker_id = :worker
    WHERE lane_id = :lane AND state = 'running'
""")
_ABANDONED = text("""
    SELECT lane.repo_id, attempt.pikaci_run_id FROM worker
    JOIN attempt ON attempt.host = worker.host JOIN lane ON lane.id = attempt.lane_id
    WHERE worker.id = :worker AND attempt.state = 'lost' AND attempt.finished_at > :since
""")
_KEEP = text("UPDATE lease SET expires_at = :expires")
ABANDONED_SECS = 7 * 86400.0


def keep_after_jump(database: Database, connection: Connection, now: float) -> bool:
    """Give all one more lease if the clock was set or the machine slept; whether it was so.

    No worker could renew in time: none of them is gone for that.
    """
    if not database.has_jumped(now, RENEW_SECS):
        return False
    _LOG.warning("the clock jumped: every lease is given %d s more", LEASE_SECS)
    connection.execute(_KEEP, {"expires": now + LEASE_SECS})
    workers.all_seen(connection, now)
    counters.count(connection, "clock_jumps")
    return True


def renew(database: Database, worker: int, lanes: Mapping[int, tuple[int, int]]) -> Renewal:
    """Keep these lanes for LEASE_SECS more: {lane: (token, last event's seq or -1)}.

    A worker without lanes renews as well: it is how the forge knows that it is there.
    """
    lost, cancelling = set(), set()
    with database.write() as connection:
        now = database.clock(connection)
        workers.seen(connection, worker, now)
        for lane, (token, progress) in lanes.items():
            values = {"lane": lane, "token": token, "worker": worker, "progress": progress}
            kept = connection.execute(
                _RENEW, {**values, "now": now, "expires": now + LEASE_SECS}
            ).rowcount
            if not kept:
                lost.add(lane)
            elif connection.execute(_CANCELLING, values).scalar_one_or_none():
                cancelling.add(lane)
    return Renewal(frozenset(lost), frozenset(cancelling))


def started(database: Database, lane: int, token: int) -> bool:
    """The run of the lane has begun; False if the lane is another worker's by now."""
    with database.write() as connection:
        values = {"lane": lane, "token": token, "now": database.clock(connection)}
        return connection.execute(_STARTED, values).rowcount > 0


def still_runs(database: Database, pikaci_run_id: str) -> bool:
    """Whether the attempt with this run is not over: who lost it then lost it to an adopter."""
    with database.read() as connection:
        return connection.execute(_RUNS, {"run": pikaci_run_id}).first() is not None


def adoptable(database: Database, worker: int) -> list[Claim]:
    """Take over the lanes of this host that have no worker any more, with their runs."""
    with database.write() as connection:
        now = database.clock(connection)
        keep_after_jump(database, connection, now)
        lanes = connection.execute(_ORPHANS, {"worker": worker, "now": now}).scalars().all()
        return [_adopt(connection, lane, worker, now) for lane in lanes]


def _adopt(connection: Connection, lane: int, worker: int, now: float) -> Claim:
    token = connection.execute(_ADOPT, {"lane": lane}).scalar_one()
    values = {"lane": lane, "token": token, "worker": worker}
    connection.execute(_ADOPT_ATTEMPT, values)
    lease(connection, lane, token, worker, now)
    return read_claim(connection, lane, adopted=True)


def abandoned(database: Database, worker: int) -> list[tuple[int, str]]:
    """(repo id, pikaci run id) of this host's runs that were given up: none may live on."""
    with database.read() as connection:
        since = database.clock(connection) - ABANDONED_SECS
        rows = connection.execute(_ABANDONED, {"worker": worker, "since": since})
        return [(row[0], row[1]) for row in rows]
