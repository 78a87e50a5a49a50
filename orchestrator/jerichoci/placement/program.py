"""A program on a host, as it is asked for and as it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Protocol

from jerichoci.machine.confined_job import ConfinedJob
from jerichoci.machine.control_groups import NO_LIMITS, Limits
from jerichoci.machine.ending import Ending
from jerichoci.state.dataclass import dataclass


@dataclass(frozen=True)
class Program:
    """A program to start; all paths but that of its log are the host's."""

    argv: Sequence[str] | ConfinedJob
    cwd: Path
    env: Mapping[str, str]
    log: Path
    notes: Path
    """A directory of its own, in which it is recorded for those who find it without an owner."""
    limits: Limits = NO_LIMITS
    """Those that the host can set."""
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """By name: it gets them as `machine.secret_files` says, and its log is kept clear of them."""


class Running(Protocol):
    """A started program and everything it starts."""

    async def wait(self) -> Ending:
        """Wait for its end."""

    async def ended_within(self, secs: float) -> bool:
        """Whether it has ended and took no longer, even if the news of it came late.

        Waits until its host can be asked; its end must be waited for, too.
        """

    def terminate(self) -> None:
        """Ask it to end (TERM)."""

    def kill(self) -> None:
        """End it (KILL)."""
