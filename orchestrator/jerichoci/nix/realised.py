"""What became of a prepare node, and the observer of it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path  # noqa: TC003 - values of these types are sent to and from hosts
from typing import TYPE_CHECKING, Protocol

from jerichoci.state.dataclass import dataclass
from jerichoci.status import CauseCode, FailureKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable


NAMED = 16
"""How many of what Nix does at a time are named."""
LONGEST_NAME = 211
"""Characters that Nix has in the name of a store path."""


@dataclass(frozen=True)
class BuildRequest:
    """A Nix output to have: a prepare node's, without what only plans know."""

    installable: str
    drv_path: str | None
    out_path: str
    timeout_secs: int


@dataclass(frozen=True)
class Fault:
    """Why a prepare node can't be had."""

    code: CauseCode
    message: str
    hint: str | None = None
    got_hash: str | None = None
    """The hash that a fixed output has, where another one was specified."""


@dataclass(frozen=True)
class Realised:
    """What became of a prepare node."""

    outcome: Outcome
    path: str | None = None
    gc_root: Path | None = None
    cached: bool = False
    copied_bytes: int | None = None
    """How many bytes went to its host, if it, or what it is built from, was copied there."""
    failure_kind: FailureKind | None = None
    fault: Fault | None = None

    @property
    def ok(self) -> bool:
        """Whether its output is there."""
        return self.outcome is Outcome.PASSED


def failed(
    kind: FailureKind,
    code: CauseCode,
    message: str,
    hint: str | None = None,
    got_hash: str | None = None,
) -> Realised:
    """A node that can't be had, and why."""
    return Realised(Outcome.FAILED, failure_kind=kind, fault=Fault(code, message, hint, got_hash))


CANCELLED = Realised(
    Outcome.CANCELLED,
    fault=Fault(CauseCode.CANCELLED, "the run was stopped"),
)


@dataclass(frozen=True)
class Activity:
    """What Nix does now: the names of derivations that it builds and of paths that it fetches.

    `built` derivations of `to_build` are done.
    """

    building: tuple[str, ...] = ()
    fetching: tuple[str, ...] = ()
    built: int = 0
    to_build: int = 0


def joined(activities: Iterable[Activity]) -> Activity:
    """What is done on several hosts, of which one may say anything."""
    rows = list(activities)
    return Activity(
        building=_some(name for row in rows for name in row.building),
        fetching=_some(name for row in rows for name in row.fetching),
        built=sum(row.built for row in rows),
        to_build=sum(row.to_build for row in rows),
    )


def _some(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name[:LONGEST_NAME] for name in islice(names, NAMED))


class Observer(Protocol):
    """What follows prepare nodes."""

    def log(self, node_id: str, line: str) -> None:
        """A builder printed a line that concerns a node."""

    def building(self, node_id: str) -> None:
        """A node wasn't there and is being made."""

    def active(self, activity: Activity) -> None:
        """Nix does something else now for the nodes that are asked for."""

    def finished(self, node_id: str, result: Realised) -> None:
        """A node is done; called once for each."""
