"""The health of targets and hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pika_git.forge_service.forge_model import Health, HealthEvent, HealthLine
from pika_git.forge_service.lenient import listing, number, whole, words
from pika_git.forge_service.sentences import clock_time, count
from pika_git.persistence.views import forge as view

if TYPE_CHECKING:
    from pika_git.forge_service.model import Source
    from pika_git.persistence.views import Row

MOST_LINES = 300
MOST_EVENTS = 100


def health(source: Source) -> Health:
    """Targets and hosts, what is closed first, and what happened to them."""
    with source.database.read() as connection:
        now = source.database.clock(connection)
        lines = [_line(row, now) for row in view.health(connection, MOST_LINES)]
        events = [_event(row) for row in view.health_events(connection, MOST_EVENTS)]
    return Health(now, tuple(lines), tuple(events))


def _line(row: Row[Any], now: float) -> HealthLine:
    failures, until = whole(row.failures) or 0, number(row.closed_until)
    probe, why = whole(row.probe_lane_id), words(row.why)
    state = "failing" if failures else "open"
    if until is not None:
        state = "probing" if probe else "closed"
    said = {
        "open": "open",
        "failing": f"open, {count(failures, 'failure')} in a row",
        "closed": f"closed until {clock_time(until, now)}",
        "probing": f"closed, lane {probe} is trying it",
    }[state]
    if state == "closed" and until is not None and until <= now:
        said = "closed, the next lane tries it"
    return HealthLine(
        kind=words(row.kind) or "unknown",
        name=words(row.name) or "unknown",
        repo=words(row.repo),
        state=state,
        words=said + (f": {why}" if why and state != "open" else ""),
        failures=failures,
        closed_until=until,
        probe_lane_id=probe,
        failing_targets=tuple(
            each for each in listing(row.failing_targets) if isinstance(each, str)
        ),
        updated_at=number(row.updated_at),
    )


def _event(row: Row[Any]) -> HealthEvent:
    return HealthEvent(
        at=number(row.at),
        what=words(row.what) or "unknown",
        kind=words(row.kind) or "unknown",
        name=words(row.name) or "unknown",
        repo=words(row.repo),
        lane_id=whole(row.lane_id),
        why=words(row.why),
    )
