"""A run that this worker watches, and the lane that it is for."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pika_git.pikaci_process import Ended

if TYPE_CHECKING:
    from pathlib import Path

    from jerichoci import RunStore
    from pika_git.persistence.queue import Claim
    from pika_git.pikaci_process import Pikaci

START_SECS = 120.0
"""How long a run may take to have a record. Its snapshot and plan are there already."""
REAP_SECS = 120.0
"""`pikaci reap` removes guests and files of all runs whose process died.

It is done again while something is left; after that time the lane's end is reported all the same.
"""
REAP_AGAIN_SECS = 10.0
MOST_REAP_SAID = 1000


@dataclass
class Run:
    """A run: how far it is, and how it is brought to an end."""

    key: str
    """Its id, under which its process's end is told."""
    store: RunStore
    pikaci: Pikaci
    directory: Path
    """Where what `pikaci` says is kept until the lane's end is delivered."""
    has_begun: bool = False
    progress: int = -1
    """The `seq` of its last event."""
    _offset: int = 0
    _since: float = field(default_factory=time.monotonic)
    _asked_at: float | None = None
    _killed_at: float | None = None
    _reap_at: float | None = None
    """When it was reaped first."""
    _reap_again_at: float = 0.0
    _reaped: Ended | None = None
    """How the last `pikaci reap` ended."""

    @property
    def said(self) -> Path:
        """What `pikaci` prints on stderr."""
        return self.directory / self.key

    def look(self) -> bool:
        """Whether the run has begun: its directory gets its name with its first event."""
        self.has_begun = self.has_begun or self.store.layout.run(self.key).root.is_dir()
        return self.has_begun

    def look_at_progress(self) -> None:
        """See how far the run is."""
        from jerichoci import PikaciError

        if not self.has_begun:
            return
        try:
            chunk = self.store.read_events(self.key, self._offset)
        except (PikaciError, OSError):
            return
        self._offset = chunk.next_offset
        for event in chunk.events:
            if isinstance(seq := event.get("seq"), int):
                self.progress = max(self.progress, seq)

    def is_starting(self) -> bool:
        """Whether its record is still to come."""
        return not self.has_begun and not self.is_late_to_begin()

    def is_late_to_begin(self) -> bool:
        """Whether it has no record after START_SECS."""
        return not self.look() and time.monotonic() - self._since > START_SECS

    def is_over(self) -> bool:
        """Whether nothing of the run lives any more, and what it left is removed.

        While its process's end is to be told, that is waited for. Else the lock tells: it dies with
        the process that has the run, whichever that is.
        """
        if self.pikaci.knows(self.key) or self.store.is_running(self.key):
            return False
        return (self._reap_at is None and not self._is_left()) or self._is_reaped()

    def _is_left(self) -> bool:
        """Whether the process died before it wrote the terminal record and cleaned up."""
        return self.store.layout.run(self.key).reserve.exists()

    def hear(self, end: Ended) -> None:
        """Something that `pikaci` did ended."""
        if end.id == self._reap_key:
            self._reaped = end

    def _is_reaped(self) -> bool:
        now = time.monotonic()
        if self._reap_at is not None and now - self._reap_at > REAP_SECS:
            return True
        if self.pikaci.knows(self._reap_key):
            return False
        if self._is_clean():
            return True
        if now >= self._reap_again_at:
            self._reap_at = now if self._reap_at is None else self._reap_at
            self._reap_again_at = now + REAP_AGAIN_SECS
            self._reaped = None
            self._reap_said.unlink(missing_ok=True)
            root = self.store.layout.root
            self.pikaci.start(self._reap_key, ("reap",), root, stderr=self._reap_said)
        return False

    def _is_clean(self) -> bool:
        """Whether the last `pikaci reap` did all that it should."""
        return self._reaped is not None and self._reaped.exit_code == 0 and not self._is_left()

    @property
    def _reap_key(self) -> str:
        return f"reap-{self.key}"

    @property
    def _reap_said(self) -> Path:
        return self.directory / self._reap_key

    def what_is_left(self) -> str | None:
        """Of a run that is over: that something may be left of it, and why."""
        if self._reap_at is None or self._is_clean():
            return None
        end = self._reaped or Ended(self._reap_key, error="did not end")
        how = end.error or f"exited with {end.exit_code}"
        said = _text(self._reap_said).strip()[-MOST_REAP_SAID:]
        return f"something of the run may be left: pikaci reap {how}" + (said and f": {said}")

    def forget(self) -> None:
        """Remove what `pikaci` said."""
        for path in (self.said, self._reap_said):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def stop(self, secs: float) -> None:
        """Ask the run to end once it has begun; kill it if it takes longer than `secs`."""
        now = time.monotonic()
        if self._asked_at is None and self.look():
            self._asked_at = now
            self._do(f"cancel-{self.key}", "cancel", self.key)
        is_late = self._asked_at is not None and now - self._asked_at > secs
        is_late = is_late or self.is_late_to_begin()
        if is_late and (self._killed_at is None or now - self._killed_at > secs):
            self._killed_at = now
            self.pikaci.kill(self.key, signal.SIGKILL)
            self._kill_owner()

    def _do(self, key: str, *argv: str) -> None:
        said = self.directory / "stops.log"
        self.pikaci.start(key, argv, self.store.layout.root, stderr=said)

    def _kill_owner(self) -> None:
        """Kill the group of the process that holds the run's lock: that one, no later one."""
        path = self.store.layout.run(self.key).root / "owner.lock"
        with suppress(OSError, ValueError, KeyError, TypeError):
            pid = int(json.loads(path.read_bytes())["pid"])
            if pid > 1 and self.store.is_running(self.key):
                os.killpg(pid, signal.SIGKILL)

    def what_was_said(self) -> str:
        """What `pikaci` printed on stderr."""
        return _text(self.said)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


@dataclass
class Running:
    """A claimed lane and its run.

    `ended` is what its process's end said. `lease_until` is by this process's monotonic clock.
    """

    claim: Claim
    run: Run
    lease_until: float
    is_noted: bool = False
    """The database knows that it has begun."""
    ended: Ended | None = None
    is_cancelling: bool = False
    is_lost: bool = False
    is_away: bool = False
    """It is stopped because the database is away."""
