"""A lane that this worker runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci import RunStore
    from pika_git.persistence.queue import Claim
    from pika_git.pikaci_process import Ended

START_SECS = 120.0
"""How long a run may take to have a record. Its snapshot and plan are there already."""


@dataclass
class Running:
    """A claimed lane and how far its run is.

    `ended` is what its process's end said. `lease_until` is by this process's monotonic clock.
    """

    claim: Claim
    store: RunStore
    said: Path
    lease_until: float
    has_begun: bool = False
    ended: Ended | None = None
    is_cancelling: bool = False
    is_lost: bool = False
    stop_asked_at: float | None = None
    stops: int = 0
    offset: int = 0
    progress: int = -1
    since: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> str:
        """What its process's end is told under."""
        return self.claim.pikaci_run_id

    def look(self) -> None:
        """See whether the run has begun, and how far it is: the last event's `seq`."""
        from jerichoci import PikaciError

        if not self.has_begun:
            self.has_begun = self.store.layout.run(self.key).root.is_dir()
        if self.has_begun:
            try:
                chunk = self.store.read_events(self.key, self.offset)
            except (PikaciError, OSError):
                return
            self.offset = chunk.next_offset
            for event in chunk.events:
                if isinstance(seq := event.get("seq"), int):
                    self.progress = max(self.progress, seq)

    def is_over(self, *, is_told: bool) -> bool:
        """Whether nothing of the run lives any more; `is_told`: its process's end will be told."""
        if self.ended is not None:
            return not self.store.is_running(self.key)
        if is_told:
            return False
        if self.store.layout.run(self.key).root.is_dir():
            return not self.store.is_running(self.key)
        return time.monotonic() - self.since > START_SECS

    def what_was_said(self) -> str:
        """What `pikaci` printed on stderr."""
        try:
            return self.said.read_text("utf-8", "replace")
        except OSError:
            return ""
