"""A run with all there is about its lanes. `lane` restricts what a function returns to one lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

_RUN = text("""
    SELECT ci_run.*, repo.name AS repo, repo.paused AS repo_paused, repo.default_branch,
        branch.state AS branch_state, ref_event.pusher
    FROM ci_run LEFT JOIN repo ON repo.id = ci_run.repo_id
    LEFT JOIN branch ON branch.id = ci_run.branch_id
    LEFT JOIN ref_event ON ref_event.id = ci_run.ref_event_id
    WHERE ci_run.id = :run
""")
_RUN_OF = text("SELECT run_id FROM lane WHERE id = :lane")
_THESE = "lane.run_id = :run AND lane.id = coalesce(:lane, lane.id)"
_LANES = text(f"""
    SELECT lane.*, lease.expires_at AS lease_expires_at, lease.progress_at, lease.progress,
        label_set.labels
    FROM lane LEFT JOIN lease ON lease.lane_id = lane.id
    LEFT JOIN label_set ON label_set.id = lane.label_set_id
    WHERE {_THESE} ORDER BY lane.id
""")
_ATTEMPTS = text(f"""
    SELECT attempt.*, worker.name AS worker
    FROM attempt JOIN lane ON lane.id = attempt.lane_id
    LEFT JOIN worker ON worker.id = attempt.worker_id
    WHERE {_THESE} ORDER BY attempt.lane_id, attempt.number
""")
_REASONS = text(f"""
    SELECT reason.* FROM reason JOIN lane ON lane.id = reason.lane_id
    WHERE {_THESE} ORDER BY reason.id
""")
_HOLDERS = text(f"""
    SELECT DISTINCT hold.id, hold.repo_id, hold.group_name, hold.lane_id, hold.since, hold.until,
        holder.run_id, holder.ref, holder.name
    FROM lane JOIN group_hold AS hold
        ON hold.repo_id = lane.repo_id AND hold.group_name = lane.group_name
    LEFT JOIN lane AS holder ON holder.id = hold.lane_id
    WHERE {_THESE} AND hold.lane_id != lane.id
      AND (hold.until IS NULL OR hold.until > lane.enqueued_at)
      AND hold.since < coalesce(lane.finished_at, 9e99)
    ORDER BY hold.since LIMIT :limit
""")
_PLACES = text(f"""
    SELECT lane.id, (
        SELECT count(*) FROM lane AS ahead WHERE ahead.state = 'queued' AND
            (ahead.class, ahead.enqueued_at, ahead.id) < (lane.class, lane.enqueued_at, lane.id)
    ) AS ahead
    FROM lane WHERE {_THESE} AND lane.state = 'queued' ORDER BY lane.id LIMIT :limit
""")
_RERUNS = text("""
    SELECT * FROM ci_run WHERE rerun_of = :run ORDER BY id
""")
_AUDIT = text("SELECT * FROM audit WHERE subject IN :subjects ORDER BY id").bindparams(
    bindparam("subjects", expanding=True)
)
MOST_HOLDERS = 500
MOST_PLACES = 20
"""Each costs a count over those ahead of it."""


def run(connection: Connection, run_id: int) -> Row[Any] | None:
    """One run with the names of its repository and branch."""
    return connection.execute(_RUN, {"run": run_id}).one_or_none()


def run_of(connection: Connection, lane: int) -> int | None:
    """The run that a lane belongs to."""
    found = connection.execute(_RUN_OF, {"lane": lane}).scalar_one_or_none()
    return found if isinstance(found, int) else None


def lanes(connection: Connection, run_id: int, lane: int | None = None) -> Sequence[Row[Any]]:
    """The lanes of a run with their leases and labels."""
    return connection.execute(_LANES, {"run": run_id, "lane": lane}).all()


def attempts(connection: Connection, run_id: int, lane: int | None = None) -> Sequence[Row[Any]]:
    """All attempts at them, by lane and number."""
    return connection.execute(_ATTEMPTS, {"run": run_id, "lane": lane}).all()


def reasons(connection: Connection, run_id: int, lane: int | None = None) -> Sequence[Row[Any]]:
    """What they waited for, in order."""
    return connection.execute(_REASONS, {"run": run_id, "lane": lane}).all()


def holders(connection: Connection, run_id: int, lane: int | None = None) -> Sequence[Row[Any]]:
    """Who held their groups meanwhile, with run, ref and name of the holder."""
    values = {"run": run_id, "lane": lane, "limit": MOST_HOLDERS}
    return connection.execute(_HOLDERS, values).all()


def places(connection: Connection, run_id: int, lane: int | None = None) -> dict[int, int]:
    """How many lanes are ahead of each waiting one, for the first MOST_PLACES of them."""
    values = {"run": run_id, "lane": lane, "limit": MOST_PLACES}
    return {row[0]: row[1] for row in connection.execute(_PLACES, values)}


def reruns(connection: Connection, run_id: int) -> Sequence[Row[Any]]:
    """The runs that run this one again."""
    return connection.execute(_RERUNS, {"run": run_id}).all()


def audit(connection: Connection, subjects: Sequence[str]) -> Sequence[Row[Any]]:
    """What people did to these subjects."""
    return connection.execute(_AUDIT, {"subjects": list(subjects)}).all()
