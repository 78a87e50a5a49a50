"""How a lane stands and what it waits for, in words."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pika_git.forge_service.lenient import number, whole, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MINUTE, HOUR, DAY = 60, 3600, 86400
OVER = {
    "success": "passed",
    "failed": "failed",
    "skipped": "skipped",
    "cancelled": "cancelled",
}


@dataclass(frozen=True)
class Hold:
    """A lane that held a group, from `since` to `until`, for ever if None."""

    lane_id: int | None
    run_id: int | None
    ref: str
    name: str
    since: float
    until: float | None

    @property
    def words(self) -> str:
        """`main #41`: the ref and the run."""
        return f"{short_ref(self.ref)} #{self.run_id}" if self.run_id else f"lane {self.lane_id}"


def short_ref(ref: str) -> str:
    """A ref as people say it."""
    for prefix in ("refs/heads/", "refs/tags/"):
        if ref.startswith(prefix) and len(ref) > len(prefix):
            return ref[len(prefix) :]
    return ref


def duration(secs: float | None) -> str:
    """`0.4 s`, `48 s`, `1m 02s`, `2h 05m` or `3d 04h`."""
    if secs is None:
        return "unknown time"
    secs = max(0.0, secs)
    if secs < 9.95:  # noqa: PLR2004 - from here on tenths say nothing
        return f"{secs:.1f} s"
    whole_secs = round(secs)
    if whole_secs < MINUTE:
        return f"{whole_secs} s"
    if whole_secs < HOUR:
        return f"{whole_secs // MINUTE}m {whole_secs % MINUTE:02d}s"
    if whole_secs < DAY:
        return f"{whole_secs // HOUR}h {whole_secs % HOUR // MINUTE:02d}m"
    return f"{whole_secs // DAY}d {whole_secs % DAY // HOUR:02d}h"


def clock_time(at: float | None, now: float) -> str:
    """A time of day in UTC, with the date if it is another day's."""
    if at is None:
        return "an unknown time"
    pattern = "%H:%M:%S UTC" if int(at // DAY) == int(now // DAY) else "%Y-%m-%d %H:%M UTC"
    return time.strftime(pattern, time.gmtime(at))


def count(number_of: int, noun: str) -> str:
    """`1 lane`, `2 lanes`."""
    return f"{number_of} {noun}" if number_of == 1 else f"{number_of} {noun}s"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


_REASONS = {
    "queued": ("is next for a free slot", "a worker takes it"),
    "blocked_by_concurrency_group": (
        "waits for group {group}, {held}",
        "that lane ends, or is cancelled",
    ),
    "waiting_for_capacity": (
        "waits for a free slot: every worker that fits is busy{troubles}",
        "a running lane ends",
    ),
    "target_unhealthy": (
        "waits because target {target} is closed, {trying}{because}",
        "the probe passes, or its health is cleared",
    ),
    "host_unhealthy": (
        "waits because {host} is closed, {trying}{because}",
        "the probe passes, or its health is cleared",
    ),
    "no_host_fits": ("waits for a worker{missing}: {none}", "a worker{missing} is started"),
    "not_before": ("is not due before {until}", "that time comes"),
    "paused": ("waits because the {what} is paused{because}", "the {what} is resumed"),
    "stale_recovered": ("waits again: {why}", "a worker takes it"),
    "awaiting_approval": ("waits for approval", "it is approved or cancelled"),
    "draining": (
        "waits because every worker that fits takes no more lanes",
        "a worker is resumed, or started",
    ),
    "superseded": ("is superseded by a newer push", "it is cancelled"),
}
"""What a lane waits for and what ends it, by the reason's code."""
_UNKNOWN = ("waits: {code}", "unknown: cancel it, or wake the queue")


def reason(
    code: str, detail: dict[str, Any], target: str, now: float, holder: Hold | None = None
) -> tuple[str, str]:
    """What a lane waits for, and what ends it."""
    until = clock_time(number(detail.get("until")), now)
    why, probe, host = words(detail.get("why")), whole(detail.get("probe")), detail.get("host")
    missing = [name for each in _items(detail.get("missing")) if (name := words(each))]
    has_label = missing and missing != ["a worker"]
    values = {
        "because": f": {why}" if why else "",
        "code": code,
        "group": words(detail.get("group")) or "unknown",
        "held": f"held by {holder.words}" if holder else "behind lanes that wait longer",
        "host": f"host {host}" if words(host) else "every host that fits",
        "missing": f" with label {listed(missing)}" if has_label else "",
        "none": "none has it" if has_label else "none runs",
        "target": target,
        "troubles": _troubles(detail),
        "trying": f"lane {probe} is trying it" if probe else f"until {until}",
        "until": until,
        "what": words(detail.get("what")) or "forge",
        "why": why or "its worker was lost",
    }
    said, ends = _REASONS.get(code, _UNKNOWN)
    return said.format(**values), ends.format(**values)


def _troubles(detail: dict[str, Any]) -> str:
    """What keeps workers from taking lanes."""
    found = detail.get("troubles")
    rows = found.items() if isinstance(found, dict) else ()
    return "".join(f", or {name} takes none: {trouble}" for name, trouble in rows)


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def overlap(since: float, until: float, holds: Iterable[Hold], now: float) -> dict[str, float]:
    """How long each holder held a group within an interval, by its words."""
    found: dict[str, float] = {}
    for hold in holds:
        end = now if hold.until is None else hold.until
        secs = min(until, end) - max(since, hold.since)
        if secs > 0:
            found[hold.words] = found.get(hold.words, 0.0) + secs
    return found


@dataclass(frozen=True)
class Waited:
    """An interval of waiting for `code`, with who held the group, longest first."""

    code: str
    secs: float
    group: str | None = None
    holders: tuple[str, ...] = ()


SHORT = {
    "waiting_for_capacity": "for a free slot",
    "target_unhealthy": "for the target's cool-off",
    "host_unhealthy": "for the host's cool-off",
    "no_host_fits": "for a worker that fits",
    "draining": "for a worker that takes lanes",
    "not_before": "until it was due",
    "paused": "while paused",
    "awaiting_approval": "for approval",
    "stale_recovered": "after its worker was lost",
}
MOST_HOLDERS = 2
LEAST_SECS = 0.5
"""Shorter parts of a wait are left out of the sentence."""


def waited(total: float, parts: Iterable[Waited], *, is_waiting: bool = False) -> str:
    """`queued 1m 02s, of which 48 s for group linux held by main #41`.

    If it waits still, what it waits for is said already: the only part isn't named once more.
    """
    if total < LEAST_SECS and not is_waiting:
        return "began at once"
    sums: dict[str, float] = {}
    held: dict[str, list[str]] = {}
    for part in parts:
        if part.group is not None:
            key = f"for group {part.group}"
            held.setdefault(key, []).extend(
                each for each in part.holders if each not in held.get(key, ())
            )
        elif part.code in SHORT:
            key = SHORT[part.code]
        else:
            continue
        sums[key] = sums.get(key, 0.0) + part.secs
    said = []
    for key, secs in sorted(sums.items(), key=lambda item: -item[1]):
        if secs < LEAST_SECS:
            continue
        names = held.get(key, [])
        more = len(names) - MOST_HOLDERS
        shown = names[:MOST_HOLDERS] + ([f"{more} more"] if more > 0 else [])
        what = key + (f" held by {listed(shown)}" if shown else "")
        if total - secs < LEAST_SECS:
            return f"queued {duration(total)}" + ("" if is_waiting else f" {what}")
        said.append(f"{duration(secs)} {what}")
    return f"queued {duration(total)}" + (f", of which {listed(said)}" if said else "")


def summary(counts: dict[str, int], titles: dict[str, str]) -> str:
    """The lanes of a run in one line: what failed first."""
    order = ("failed", "running", "cancelling", "queued", "cancelled", "skipped", "success")
    said = []
    for state in (*order, *sorted(set(counts) - set(order))):
        if not counts.get(state):
            continue
        word = OVER.get(state, state)
        if state == "failed" and counts[state] == 1 and titles.get(state):
            said.append(f"{titles[state]} failed")
        else:
            said.append(f"{counts[state]} {word}")
    return ", ".join(said)
