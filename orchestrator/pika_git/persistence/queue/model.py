"""What goes into the queue and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

LEASE_SECS = 60.0
RENEW_SECS = 15.0
AGE_BOUND_SECS = 3600.0
"""A lane that has waited so long goes first, whatever its class: none waits for ever."""
LOST_SECS = 600.0
"""A lane whose lease has been over for so long is given up, unless it holds a group."""
RETRIES_PER_LANE = 2
RETRIES_PER_HEAD = 10


class LaneClass(IntEnum):
    """What goes first."""

    MANUAL = 0
    BRANCH = 1
    NIGHTLY = 2


class LaneState(StrEnum):
    """What became of a lane so far."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class NewLane:
    """A lane to be queued; `klass` is a LaneClass."""

    name: str
    title: str
    target: str
    klass: int
    group_name: str | None
    labels: tuple[str, ...]
    why: str
    plan_path: str | None
    plan_digest: str | None
    required: bool = True
    not_before: float | None = None
    rerun_of: int | None = None


@dataclass(frozen=True)
class Claim:
    """A lane that a worker has, by its token."""

    lane_id: int
    token: int
    attempt_id: int
    attempt_number: int
    pikaci_run_id: str
    repo_id: int
    repo_name: str
    trusted: bool
    """Whether later runs of all branches may begin with what it leaves: of the default branch."""
    run_id: int
    ref: str
    head: str
    name: str
    target: str
    plan_path: str | None
    by: str
    adopted: bool = False
    cancelling: bool = False


@dataclass(frozen=True)
class Ending:
    """What became of an attempt, by its run's record; `cause` is the record's."""

    state: LaneState
    failure_kind: str | None = None
    cause: dict[str, Any] | None = None
    exit_code: int | None = None
    is_final: bool = False
    """No other attempt can end otherwise: it is not retried."""


@dataclass(frozen=True)
class Budget:
    """Retries after failures by infrastructure: used and allowed, of a lane and of its head."""

    used: int
    allowed: int
    used_of_head: int
    allowed_of_head: int

    @property
    def is_left(self) -> bool:
        """Whether there may be another."""
        return self.used < self.allowed and self.used_of_head < self.allowed_of_head


@dataclass(frozen=True)
class Renewal:
    """What a worker hears when it renews its leases."""

    lost: frozenset[int] = frozenset()
    cancelling: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Wait:
    """An interval of waiting, in seconds since the epoch; it lasts if `until` is None.

    `holders` are the lanes that held the group meanwhile: (lane id, since, until).
    """

    code: str
    detail: dict[str, Any]
    since: float
    until: float | None
    holders: tuple[tuple[int, float, float | None], ...] = field(default=())


class RefusedError(Exception):
    """The lane or run is in a state that doesn't allow it."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
