"""Health, nightly slots, and what an admin looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

_HEALTH = text("""
    SELECT health.*, repo.name AS repo, probe.run_id AS probe_run_id
    FROM health LEFT JOIN repo ON repo.id = health.repo_id
    LEFT JOIN lane AS probe ON probe.id = health.probe_lane_id
    ORDER BY health.closed_until IS NULL, health.failures = 0, health.updated_at DESC, health.id
    LIMIT :limit
""")
_HEALTH_EVENTS = text("""
    SELECT event.*, health.kind, health.name, repo.name AS repo, lane.run_id
    FROM health_event AS event LEFT JOIN health ON health.id = event.health_id
    LEFT JOIN repo ON repo.id = health.repo_id LEFT JOIN lane ON lane.id = event.lane_id
    ORDER BY event.id DESC LIMIT :limit
""")
_SLOTS = text("""
    SELECT slot.*, repo.name AS repo FROM nightly_slot AS slot
    LEFT JOIN repo ON repo.id = slot.repo_id
    WHERE slot.id < :before ORDER BY slot.id DESC LIMIT :limit
""")
_REPOS = text("SELECT * FROM repo ORDER BY name LIMIT :limit")
_TOKENS = text("SELECT * FROM token ORDER BY revoked_at IS NOT NULL, id DESC LIMIT :limit")
_AUDIT = text("SELECT * FROM audit WHERE id < :before ORDER BY id DESC LIMIT :limit")
_COUNTERS = text("SELECT * FROM counter ORDER BY name")
_UNHANDLED = text("""
    SELECT repo_id, count(*) AS events FROM ref_event WHERE handled_at IS NULL GROUP BY repo_id
""")


def health(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    """Targets and hosts of which something is known, the closed ones first."""
    return connection.execute(_HEALTH, {"limit": limit}).all()


def health_events(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    """What happened to the health of targets and hosts, the newest first."""
    return connection.execute(_HEALTH_EVENTS, {"limit": limit}).all()


def nightly_slots(connection: Connection, before: int, limit: int) -> Sequence[Row[Any]]:
    """Nightly slots with an id below `before`, the newest first."""
    return connection.execute(_SLOTS, {"before": before, "limit": limit}).all()


def repos(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    """The registered repositories."""
    return connection.execute(_REPOS, {"limit": limit}).all()


def unhandled(connection: Connection) -> dict[int, int]:
    """How many changes of refs no run was made of yet, by repository."""
    return {row[0]: row[1] for row in connection.execute(_UNHANDLED)}


def tokens(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    """The tokens, those that are valid first."""
    return connection.execute(_TOKENS, {"limit": limit}).all()


def audit(connection: Connection, before: int, limit: int) -> Sequence[Row[Any]]:
    """What people did, the newest first."""
    return connection.execute(_AUDIT, {"before": before, "limit": limit}).all()


def counters(connection: Connection) -> Sequence[Row[Any]]:
    """What the forge counts."""
    return connection.execute(_COUNTERS).all()
