"""Targets and hosts that fail by infrastructure or timeout are closed for a while.

Two failures in a row close a target: for a minute, then twice as long each time, up to an hour.
Then it is on trial: one lane, the probe, tries it. Its verdict opens the target, its failure by
infrastructure or timeout closes it again. Five targets that fail in a row on one host close the
host instead, and those of them that it closed are open again; a host on trial takes one lane.
A test that failed says nothing against a target or a host, and a lane that was cancelled or skipped
says nothing at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence.lines import facts as lines_facts
from pika_git.persistence.lines import placing
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from pika_git.persistence.lines.facts import Facts

FAILURES_TO_CLOSE = 2
TARGETS_TO_CLOSE_HOST = 5
FIRST_COOL_OFF_SECS = 60.0
MOST_COOL_OFF_SECS = 3600.0

_GET = text("""
    SELECT * FROM health
    WHERE coalesce(repo_id, 0) = :repo AND kind = :kind AND name = :name
""")
_ADD = text("""
    INSERT INTO health (repo_id, kind, name, updated_at)
    VALUES (nullif(:repo, 0), :kind, :name, :now) RETURNING *
""")
_FAILED = text("""
    UPDATE health SET failures = :failures, failing_targets = :failing, why = :why,
        updated_at = :now
    WHERE id = :id
""")
_CLOSE = text("""
    UPDATE health SET state = 'closed', cool_off_secs = :secs, closed_until = :now + :secs,
        probe_lane_id = NULL
    WHERE id = :id
""")
_OPEN = text("""
    UPDATE health SET state = 'open', failures = 0, failing_targets = '[]', cool_off_secs = NULL,
        closed_until = NULL, probe_lane_id = NULL, why = NULL, updated_at = :now
    WHERE id = :id
""")
_DUE = text("""
    SELECT * FROM health WHERE state = 'closed'
        AND (closed_until <= :now OR typeof(closed_until) != 'real')
""")
_NEXT_DUE = text("""
    SELECT min(closed_until) FROM health WHERE state = 'closed' AND typeof(closed_until) = 'real'
""")
_TRY = text("UPDATE health SET state = 'trial', updated_at = :now WHERE id = :id")
_PROBED_BY = text("SELECT * FROM health WHERE probe_lane_id = :lane")
_PROBE = text("UPDATE health SET probe_lane_id = :lane WHERE id = :id")
_EVENT = text("""
    INSERT INTO health_event (health_id, at, what, lane_id, why)
    VALUES (:id, :now, :what, :lane, :why)
""")


@dataclass
class Changes:
    """What opened or closed: (repo, target), and whether a host did."""

    targets: set[tuple[int, str]] = field(default_factory=set)
    hosts: bool = False

    def add(self, row: Row[Any]) -> None:
        """Note one."""
        if row.kind == "host":
            self.hosts = True
        else:
            self.targets.add((row.repo_id, row.name))


def place(connection: Connection, changes: Changes, now: float) -> Facts:
    """Let the queued lanes follow; the facts of the moment."""
    found = lines_facts.load(connection, now)
    if changes.hosts:
        placing.place_all(connection, found)
    for repo, target in sorted(changes.targets):
        placing.place_target(connection, found, repo, target)
    if changes.hosts or changes.targets:
        wake(connection, "a target or host opened or closed", now)
    return found


def record(
    connection: Connection,
    *,
    repo: int,
    target: str,
    host: str,
    lane: int,
    failure_kind: str | None,
    why: str | None,
    now: float,
) -> Changes:
    """Count a verdict: a failure by infrastructure or timeout against its target and host."""
    changes = Changes()
    own = _row(connection, repo, "target", target, now)
    of_host = _row(connection, 0, "host", host, now)
    if failure_kind not in {"infrastructure", "timeout"}:
        for row in (own, of_host):
            if _open(connection, row, "opened", lane, now):
                changes.add(row)
        return changes
    said = why or failure_kind
    failing = [key for key in _names(of_host.failing_targets) if key != [repo, target]]
    failing.append([repo, target])
    _fail(connection, of_host, failing, lane, f"{target}: {said}", now)
    if len(failing) >= TARGETS_TO_CLOSE_HOST or of_host.probe_lane_id == lane:
        _close(connection, of_host, lane, f"{len(failing)} targets failed in a row on it", now)
        changes.add(of_host)
        for its_repo, name in failing:
            row = _row(connection, its_repo, "target", name, now)
            if _open(connection, row, "cleared", lane, now, f"host {host} is what failed"):
                changes.add(row)
        return changes
    _fail(connection, own, [], lane, f"on {host}: {said}", now)
    if _count(own.failures) + 1 >= FAILURES_TO_CLOSE or own.probe_lane_id == lane:
        _close(connection, own, lane, said, now)
        changes.add(own)
    return changes


def release_probe(connection: Connection, lane: int, now: float) -> Changes:
    """A lane that was a probe ended without an answer, so that another one may try."""
    changes = Changes()
    for row in connection.execute(_PROBED_BY, {"lane": lane}).all():
        connection.execute(_PROBE, {"id": row.id, "lane": None})
        _note(connection, row.id, "probe_ended", now, lane)
        if row.kind == "target":
            changes.add(row)
        else:
            wake(connection, f"host {row.name} has no probe", now)
    return changes


def is_due(connection: Connection, now: float) -> bool:
    """Whether a cool-off is over."""
    return connection.execute(_DUE, {"now": now}).first() is not None


def due(connection: Connection, now: float) -> bool:
    """Let a lane try whatever has cooled off; whether there was anything."""
    changes = Changes()
    rows = connection.execute(_DUE, {"now": now}).all()
    for row in rows:
        connection.execute(_TRY, {"id": row.id, "now": now})
        _note(connection, row.id, "trial", now, None)
        changes.add(row)
    if rows:
        place(connection, changes, now)
    return bool(rows)


def next_due(connection: Connection) -> float | None:
    """When the next cool-off is over."""
    found = connection.execute(_NEXT_DUE).scalar_one_or_none()
    return None if found is None else float(found)


def probe_host(connection: Connection, host: str, lane: int, now: float) -> None:
    """A host on trial took its lane."""
    row = connection.execute(_GET, {"repo": 0, "kind": "host", "name": host}).one_or_none()
    if row is not None and row.state == "trial":
        connection.execute(_PROBE, {"id": row.id, "lane": lane})
        _note(connection, row.id, "probe", now, lane)


def clear(connection: Connection, kind: str, name: str, repo: int, why: str, now: float) -> bool:
    """Open a target or host (`repo` 0) by hand; whether there was something to clear."""
    values = {"repo": repo, "kind": kind, "name": name}
    row = connection.execute(_GET, values).one_or_none()
    if row is None or (row.state == "open" and not row.failures):
        return False
    changes = Changes()
    if _open(connection, row, "cleared", None, now, why):
        changes.add(row)
    place(connection, changes, now)
    return True


def _row(connection: Connection, repo: int, kind: str, name: str, now: float) -> Row[Any]:
    values = {"repo": repo, "kind": kind, "name": name}
    found = connection.execute(_GET, values).one_or_none()
    if found is not None:
        return found
    return connection.execute(_ADD, {**values, "now": now}).one()


def _fail(
    connection: Connection, row: Row[Any], failing: list[Any], lane: int, why: str, now: float
) -> None:
    values = {"id": row.id, "failures": _count(row.failures) + 1, "why": why, "now": now}
    connection.execute(_FAILED, {**values, "failing": json.dumps(failing)})
    _note(connection, row.id, "failure", now, lane, why)


def _close(connection: Connection, row: Row[Any], lane: int, why: str, now: float) -> None:
    if row.state == "closed":
        return  # another one that ran at the same time has closed it
    before = row.cool_off_secs
    is_first = not isinstance(before, int | float)
    secs = FIRST_COOL_OFF_SECS if is_first else min(MOST_COOL_OFF_SECS, before * 2)
    connection.execute(_CLOSE, {"id": row.id, "secs": secs, "now": now})
    _note(connection, row.id, "closed", now, lane, f"for {secs:.0f} s: {why}")


def _open(
    connection: Connection,
    row: Row[Any],
    what: str,
    lane: int | None,
    now: float,
    why: str | None = None,
) -> bool:
    """Whether it was not open."""
    if row.state == "open" and not row.failures and _names(row.failing_targets) == []:
        return False
    connection.execute(_OPEN, {"id": row.id, "now": now})
    _note(connection, row.id, what, now, lane, why)
    return bool(row.state != "open")


def _note(
    connection: Connection,
    health: int,
    what: str,
    now: float,
    lane: int | None,
    why: str | None = None,
) -> None:
    values = {"id": health, "now": now, "what": what, "lane": lane, "why": why}
    connection.execute(_EVENT, values)


def _count(failures: object) -> int:
    """0 if the row is damaged."""
    return failures if isinstance(failures, int) else 0


def _names(written: str | None) -> list[Any]:
    """[repo, target] each; none if the row is damaged."""
    try:
        values = json.loads(written or "[]")
    except ValueError:
        return []
    is_pairs = isinstance(values, list) and all(
        isinstance(pair, list) and len(pair) == len(("repo", "target")) for pair in values
    )
    return values if is_pairs else []
