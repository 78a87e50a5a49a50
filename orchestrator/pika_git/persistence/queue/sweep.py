"""Looking at everything: what is over, and what should have happened by itself and did not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import text

from pika_git.persistence import counters, workers
from pika_git.persistence.lines import facts, placing, turns
from pika_git.persistence.lines.reason import Reason, set_reasons
from pika_git.persistence.queue.due import look_at_time
from pika_git.persistence.queue.ending import LANE, recover
from pika_git.persistence.queue.lease import keep_after_jump
from pika_git.persistence.queue.model import LOST_SECS
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pika_git.persistence.database import Database
    from pika_git.persistence.lines.facts import Facts

KEPT_WAKES_SECS = 3600.0
UNCLAIMED_SECS = 5.0
"""A ready lane that a worker with a free slot leaves alone for so long was not heard of."""

_FRESH = text("""
    SELECT lane.id, lane.label_set_id FROM lane JOIN reason ON reason.lane_id = lane.id
      AND reason.until IS NULL
    WHERE lane.ready = 1 AND lane.reason = 'queued' AND reason.since < :before
""")
_UNCLAIMED = text("""
    SELECT DISTINCT lane.label_set_id FROM lane JOIN reason ON reason.lane_id = lane.id
      AND reason.until IS NULL
    WHERE lane.ready = 1 AND reason.since < :before
""")
_WOKEN = text("SELECT 1 FROM wake WHERE id = (SELECT max(id) FROM wake) AND at > :before")
_LOST = text("""
    SELECT lane.id FROM lane LEFT JOIN lease ON lease.lane_id = lane.id
    WHERE lane.state IN ('queued', 'running', 'cancelling')
      AND lane.state IN ('running', 'cancelling') AND lane.group_name IS NULL
      AND coalesce(lease.expires_at, lane.started_at, 0) < :before
""")
_UNKNOWN = text("""
    SELECT id FROM lane WHERE state NOT IN
        ('queued', 'running', 'cancelling', 'success', 'failed', 'skipped', 'cancelled')
""")
_OLD_WAKES = text("DELETE FROM wake WHERE at < :before")
_SET = text("""
    INSERT INTO setting (name, value) VALUES (:name, :value)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value
""")


def refresh_reasons(connection: Connection, now: float) -> int:
    """Decide anew what every queued lane waits for; how many wait for something else now."""
    return placing.place_all(connection, facts.load(connection, now))


def sweep(database: Database) -> None:
    """Look at everything: what is due, and what a transition should have done and did not.

    The latter is a fault of the forge: counted as `lost_wakes`, and put right.
    """
    with database.write() as connection:
        now = database.clock(connection)
        keep_after_jump(database, connection, now)
        for name in workers.silent(connection, now):
            workers.set_state(connection, name, "gone", now)
        look_at_time(connection, now)
        for lane in connection.execute(_LOST, {"before": now - LOST_SECS}).scalars().all():
            row = connection.execute(LANE, {"lane": lane}).one()
            recover(connection, row, "its worker did not come back", now)
        found = facts.load(connection, now)
        for lane in connection.execute(_UNKNOWN).scalars().all():
            row = connection.execute(LANE, {"lane": lane}).one()
            placing.fail_damaged(connection, found, row, f"{row.state!r} is no state of a lane")
        lost = placing.place_all(connection, found)
        lost += turns.repair_all(connection)
        lost += _is_unclaimed(connection, found)
        _say_what_is_full(connection, found)
        if lost:
            counters.count(connection, "lost_wakes", lost)
            wake(connection, "a wake was lost", now)
        connection.execute(_OLD_WAKES, {"before": now - KEPT_WAKES_SECS})


def _say_what_is_full(connection: Connection, found: Facts) -> None:
    """Lanes that could go and find no slot wait for capacity."""
    fresh = connection.execute(_FRESH, {"before": found.now - 1.0}).all()
    waits = [(lane, found.fits(label_set)) for lane, label_set in fresh]
    full = [(lane, waiting) for lane, waiting in waits if waiting.code is Reason.CAPACITY]
    set_reasons(connection, full, found.now)


def _is_unclaimed(connection: Connection, found: Facts) -> bool:
    """Whether a worker with a free slot leaves a lane alone, and no wake is on its way."""
    open_to = [
        worker.labels
        for worker in found.workers
        if worker.has_room and worker.host not in found.hosts
    ]
    before = {"before": found.now - UNCLAIMED_SECS}
    if not open_to or connection.execute(_WOKEN, before).first() is not None:
        return False
    asked = [
        found.label_sets.get(key, facts.UNREADABLE)
        for key in connection.execute(_UNCLAIMED, before).scalars()
    ]
    return any(labels <= has for labels in asked for has in open_to)


def pause(connection: Connection, why: str, now: float) -> None:
    """Let no lane begin; those that run go on."""
    connection.execute(_SET, {"name": "paused", "value": json.dumps(why or True)})
    refresh_reasons(connection, now)


def resume(connection: Connection, now: float) -> None:
    """Let lanes begin again."""
    connection.execute(_SET, {"name": "paused", "value": "false"})
    refresh_reasons(connection, now)
    wake(connection, "resumed", now)
