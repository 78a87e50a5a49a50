"""What pages and the API show of the whole forge; units and gaps as in `model`."""

from __future__ import annotations

from dataclasses import dataclass

from pika_git.forge_service.model import Act, RunLine, Wait  # noqa: TC001 - the API reads these at run time


@dataclass(frozen=True)
class WaitingLane:
    """A lane that waits; `place` counts from 1 by class and arrival."""

    place: int
    id: int
    run_id: int
    repo: str
    ref: str
    name: str
    title: str
    enqueued_at: float | None
    wait: Wait


@dataclass(frozen=True)
class RunningLane:
    """A lane that runs."""

    id: int
    run_id: int
    repo: str
    ref: str
    name: str
    title: str
    state: str
    worker: str | None
    host: str
    attempt: int
    begun_at: float | None
    silent_secs: float | None
    group: str | None


@dataclass(frozen=True)
class WorkerLine:
    """A worker. `is_silent` if it has not been heard of for longer than a lease."""

    id: int
    name: str
    host: str
    labels: tuple[str, ...]
    slots: int
    busy: int
    state: str
    is_silent: bool
    seen_at: float | None
    started_at: float | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Queue:
    """The queue; `counts` has how many lanes wait for what, in words, the most first."""

    now: float
    total: int
    counts: tuple[tuple[str, int], ...]
    paused: str | None
    running: tuple[RunningLane, ...]
    workers: tuple[WorkerLine, ...]
    waiting: tuple[WaitingLane, ...]
    next: str | None


@dataclass(frozen=True)
class HealthLine:
    """The health of a target or host. `state` is `open`, `failing`, `closed` or `probing`."""

    kind: str
    name: str
    repo: str | None
    state: str
    words: str
    failures: int
    closed_until: float | None
    probe_lane_id: int | None
    failing_targets: tuple[str, ...]
    updated_at: float | None


@dataclass(frozen=True)
class HealthEvent:
    """What happened to the health of a target or host."""

    at: float | None
    what: str
    kind: str
    name: str
    repo: str | None
    lane_id: int | None
    why: str | None


@dataclass(frozen=True)
class Health:
    """The health of everything, what is closed first."""

    now: float
    lines: tuple[HealthLine, ...]
    events: tuple[HealthEvent, ...]


@dataclass(frozen=True)
class NightlySlot:
    """A time at which nightly lanes were due."""

    id: int
    repo: str
    repo_id: int | None
    slot_at: float | None
    state: str
    note: str | None
    run: RunLine | None


@dataclass(frozen=True)
class Nightly:
    """Nightly slots, the newest first."""

    now: float
    slots: tuple[NightlySlot, ...]
    repos: tuple[str, ...]
    next: str | None


@dataclass(frozen=True)
class RepoLine:
    """A registered repository; `error` is why it can't be used."""

    id: int
    name: str
    path: str
    default_branch: str
    run_refs: tuple[str, ...]
    paused: bool
    cancel_superseded: bool
    unhandled: int
    error: str | None


@dataclass(frozen=True)
class TokenLine:
    """A token without its secret."""

    id: int
    name: str
    role: str
    created_at: float | None
    used_at: float | None
    revoked_at: float | None


@dataclass(frozen=True)
class Admin:
    """What an admin looks at."""

    now: float
    repos: tuple[RepoLine, ...]
    tokens: tuple[TokenLine, ...]
    audit: tuple[Act, ...]
    counters: tuple[tuple[str, int], ...]
    workers: tuple[WorkerLine, ...]
    paused: str | None
    next: str | None
