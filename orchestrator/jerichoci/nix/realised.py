"""What became of a prepare node, and the observer of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - values of these types are sent to and from hosts
from typing import Protocol

from jerichoci.status import CauseCode, FailureKind, Outcome


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


class Observer(Protocol):
    """What follows prepare nodes."""

    def log(self, node_id: str, line: str) -> None:
        """A builder printed a line that concerns a node."""

    def building(self, node_id: str) -> None:
        """A node wasn't there and is being made."""

    def finished(self, node_id: str, result: Realised) -> None:
        """A node is done; called once for each."""
