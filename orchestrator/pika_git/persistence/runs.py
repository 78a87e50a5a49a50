"""CI runs: made of a change, of a nightly slot, or by hand; planned; held until they are over."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence import queue
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from pika_git.persistence.queue import NewLane

_ADD = text("""
    INSERT INTO ci_run (repo_id, branch_id, ref_event_id, kind, ref, head, base, state, selection,
        created_by, created_at, held)
    VALUES (:repo, (SELECT id FROM branch WHERE repo_id = :repo AND ref = :ref), :event, :kind,
        :ref, :head, :base, 'planning', :selection, :by, :now, 1)
    RETURNING id
""")
_PLANNING = text("""
    SELECT ci_run.* FROM ci_run LEFT JOIN ref_event AS event ON event.id = ci_run.ref_event_id
    WHERE ci_run.state = 'planning'
    ORDER BY ci_run.created_at > :late, ci_run.kind = 'nightly', coalesce(event.place, 0), ci_run.id
""")
_FAILED = text("""
    UPDATE ci_run SET state = 'failed', message = :message, hint = :hint, planned_at = :now,
        finished_at = :now
    WHERE id = :run AND state = 'planning'
""")
_BEFORE = text("""
    SELECT head, base, state = 'skipped'
        OR (state IN ('success', 'failed') AND EXISTS (SELECT 1 FROM lane WHERE run_id = ci_run.id)
            AND NOT EXISTS (SELECT 1 FROM lane WHERE run_id = ci_run.id AND state = 'cancelled'))
        AS is_whole
    FROM ci_run WHERE repo_id = :repo AND ref = :ref AND kind = 'branch' ORDER BY id DESC LIMIT 1
""")
_FIRST = text("""
    SELECT old FROM ref_event WHERE repo_id = :repo AND ref = :ref ORDER BY sequence LIMIT 1
""")
_LIKE = text("""
    SELECT id FROM ci_run
    WHERE repo_id = :repo AND kind = :kind AND head = :head AND base IS :base
      AND planned_at > :since ORDER BY id DESC LIMIT 5
""")
LATE_SECS = 600.0
"""A run that waits so long to be planned goes before those whose turn it is."""
_PLANNED = text("""
    UPDATE ci_run SET state = :state, message = :message, hint = :hint, tree = :tree, base = :base,
        selection = :selection, planned_at = :now, finished_at = :finished
    WHERE id = :run AND state = 'planning'
""")
_UNHELD = text("""
    SELECT ci_run.id, repo.path FROM ci_run JOIN repo ON repo.id = ci_run.repo_id
    WHERE ci_run.held = 1 AND ci_run.finished_at IS NOT NULL
""")
_RELEASED = text("UPDATE ci_run SET held = 0 WHERE id = :run AND finished_at IS NOT NULL")


@dataclass(frozen=True)
class Asked:
    """What a run by hand is asked to run."""

    lanes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planning:
    """A run that has to be planned."""

    id: int
    repo_id: int
    kind: str
    ref: str
    head: str
    base: str | None
    asked: Asked


def create(
    connection: Connection,
    *,
    repo: int,
    kind: str,
    ref: str,
    head: str,
    by: str,
    now: float,
    event: int | None = None,
    base: str | None = None,
    asked: Asked | None = None,
) -> int:
    """Begin a run, to be planned; its id. `kind` is branch, nightly, merge or manual."""
    selection = json.dumps({"asked": vars(asked)}) if asked else None
    values: dict[str, Any] = {"repo": repo, "kind": kind, "ref": ref, "head": head, "by": by}
    values |= {"now": now, "event": event, "base": base, "selection": selection}
    run = int(connection.execute(_ADD, values).scalar_one())
    if kind in {"branch", "nightly"}:
        queue.supersede(connection, run, now)
    wake(connection, f"run {run} is to be planned", now)
    return run


def start_of(connection: Connection, repo: int, ref: str) -> str | None:
    """The last head of a ref whose lanes all came to a verdict; None if there is none.

    What was pushed since then was cut short, by a newer push or a broken catalog: its changes are
    still to be tested, with those of the next head.
    """
    place = {"repo": repo, "ref": ref}
    before = connection.execute(_BEFORE, place).one_or_none()
    if before is None:
        found = connection.execute(_FIRST, place).scalar_one_or_none()
    else:
        found = before.head if before.is_whole else before.base
    return None if found is None else str(found)


def planning(connection: Connection, now: float) -> list[Planning]:
    """The runs that have to be planned, in their order.

    Those by hand and for a merge first, nightly ones last; pushes take turns: the first refs of
    all of them, then their second, and so on.
    """
    found = []
    for row in connection.execute(_PLANNING, {"late": now - LATE_SECS}):
        asked = _asked(row.selection)
        found.append(Planning(row.id, row.repo_id, row.kind, row.ref, row.head, row.base, asked))
    return found


def planned_like(
    connection: Connection, run: Planning, base: str | None, since: float
) -> list[int]:
    """Runs of the same change that were planned since then, the latest first."""
    values = {"repo": run.repo_id, "kind": run.kind, "head": run.head, "base": base}
    return list(connection.execute(_LIKE, {**values, "since": since}).scalars())


def _asked(selection: str | None) -> Asked:
    try:
        values = json.loads(selection or "{}")["asked"]
        return Asked(tuple(map(str, values["lanes"])), tuple(map(str, values["targets"])))
    except (ValueError, KeyError, TypeError):
        return Asked()


def planned(
    connection: Connection,
    run: int,
    lanes: Sequence[NewLane],
    now: float,
    *,
    tree: str,
    base: str | None,
    selection: dict[str, Any],
    message: str | None,
    broken: dict[str, dict[str, Any]],
) -> bool:
    """Queue a run's lanes; False if it was cancelled meanwhile.

    `broken` are the causes of lanes whose target has no plan: they fail at once. Without lanes the
    run is skipped, which `message` explains.
    """
    values = {"run": run, "now": now, "tree": tree, "base": base, "message": message}
    values |= {"selection": json.dumps(selection), "hint": None}
    state, finished = ("queued", None) if lanes else ("skipped", now)
    if not connection.execute(_PLANNED, {**values, "state": state, "finished": finished}).rowcount:
        return False
    ids = queue.enqueue(connection, run, lanes, now)
    for lane, id_ in zip(lanes, ids, strict=True):
        if cause := broken.get(lane.target):
            queue.fail_unplanned(connection, id_, cause, now)
    return True


def failed(connection: Connection, run: int, message: str, hint: str | None, now: float) -> None:
    """A run can't be planned."""
    values = {"run": run, "message": message, "hint": hint, "now": now}
    connection.execute(_FAILED, values)
    wake(connection, f"run {run} failed", now)


def end_ref(connection: Connection, repo: int, ref: str, now: float) -> None:
    """A ref was deleted: what waits for its head is cancelled; what runs may end."""
    open_runs = text("""
        SELECT id FROM ci_run WHERE repo_id = :repo AND ref = :ref AND finished_at IS NULL
          AND kind = 'branch'
    """)
    for run in connection.execute(open_runs, {"repo": repo, "ref": ref}).scalars().all():
        queue.cancel_queued(connection, run, "the forge", "the branch was deleted", now)


def to_release(connection: Connection) -> list[tuple[int, str]]:
    """Runs that are over and whose head is still held: (run, repository's path)."""
    return [(row[0], row[1]) for row in connection.execute(_UNHELD)]


def released(connection: Connection, run: int) -> None:
    """A run's head is no longer held."""
    connection.execute(_RELEASED, {"run": run})
