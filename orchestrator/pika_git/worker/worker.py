"""The worker's loop.

- A lane is this worker's while it renews its lease. It renews them every RENEW_SECS, give or take,
  and at once when woken. What it hears then: which lanes it lost, and which are to be cancelled.
- A run is started under the id that the claim has. Whatever is killed, that id finds the run again:
  it lives while its owner lock is held, and its record has the verdict.
- A database that is away stops no run at first. Before a lease ends by this process's monotonic
  clock its run is stopped: another worker may have the lane by then. Ends are kept on disk and
  delivered when the database is back, which refuses those that came too late.
"""

from __future__ import annotations

import random
import selectors
import shutil
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from pika_git.persistence import queue, wakes, workers
from pika_git.persistence.database import DatabaseError
from pika_git.persistence.queue.model import LEASE_SECS, RENEW_SECS
from pika_git.pikaci_process import Ended, Pikaci
from pika_git.worker.results import Results
from pika_git.worker.running import Running
from pika_git.worker.verdict import broken, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from pika_git.data import DataDir
    from pika_git.persistence.database import Database
    from pika_git.persistence.queue import Claim, Ending

IDLE_SECS = 1.0
"""How often to look though nothing was heard: a datagram may be lost."""
LEASE_MARGIN_SECS = 15.0
"""How long before the end of a lease its run is stopped, if the lease can't be renewed."""
CANCEL_SECS = 60.0
"""What a run has to end after it was asked to; then its processes are killed."""
FREE_BYTES = 128 * 1024 * 1024
"""Less room than this, and no lane is claimed: its run could not be recorded."""
CLOCKS_APART_SECS = RENEW_SECS


@dataclass
class Worker:
    """One worker process."""

    database: Database
    data: DataDir
    name: str
    host: str
    labels: frozenset[str]
    slots: int
    renew_secs: float = RENEW_SECS
    running: dict[int, Running] = field(default_factory=dict)
    _id: int = 0
    _renew_at: float = 0.0
    _is_ending: bool = False
    _drains: bool = False
    _said: str = ""
    _clocks: tuple[float, float] = (0.0, 0.0)

    def __enter__(self) -> Self:
        self._held = ExitStack()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.results = Results(self.directory / "results")
        self.pikaci = self._held.enter_context(Pikaci(self.directory / "pikaci.log"))
        self.data.wakes.mkdir(mode=0o700, exist_ok=True)
        listener = wakes.Listener(self.data.wakes, f"worker-{self.name}")
        self.listener = self._held.enter_context(listener)
        self._id = workers.register(self.database, self.name, self.host, self.labels, self.slots)
        self._clocks = (time.time(), time.monotonic())
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(DatabaseError):
            workers.leave(self.database, self.name)
        self._held.close()

    @property
    def directory(self) -> Path:
        """What this worker keeps."""
        return self.data.worker(self.name)

    def end(self, *, drains: bool = False) -> None:
        """Claim no more, and end: at once, or when what runs is over."""
        self._is_ending, self._drains = True, drains

    def run(self) -> None:
        """Work until it is told to end."""
        while not (self._is_ending and (not self._drains or not self.running)):
            self.step()
            self._wait()

    def step(self) -> None:
        """Do all that can be done now."""
        for end in self.pikaci.ended():
            self._hear(end)
        try:
            self._deliver()
            if time.monotonic() >= self._renew_at:
                self._renew()
                self._adopt()
            self._finish()
            while self._has_room() and (claim := queue.claim(self.database, self._id)):
                self._start(claim)
            self._say("")
        except DatabaseError as error:
            self._say(f"{error}")
        self._stop_what_must()

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            if (ends := self.pikaci.fileno) is not None:
                selector.register(ends, selectors.EVENT_READ)
            until = min(IDLE_SECS, max(0.0, self._renew_at - time.monotonic()))
            if selector.select(until):
                self.listener.drain()
                self._renew_at = min(self._renew_at, time.monotonic()) if self.running else 0.0

    def _has_room(self) -> bool:
        if self._is_ending or len(self.running) >= self.slots:
            return False
        if shutil.disk_usage(self.data.root).free < FREE_BYTES:
            self._say(f"the disk of {self.data.root} is full: no lane is claimed until it has room")
            return False
        return True

    def _start(self, claim: Claim) -> None:
        lane = self._take(claim)
        said = lane.said
        said.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if claim.plan_path is None:
            lane.ended = Ended(lane.key, error="the lane has no plan")
            return
        notes = {"forge": self.host, "repo": claim.repo_name, "run": claim.run_id}
        notes |= {"lane": claim.name, "lane_id": claim.lane_id, "attempt": claim.attempt_number}
        notes |= {"by": claim.by}
        argv = ["run", "--plan", claim.plan_path, claim.target, "--run-id", lane.key]
        for name, value in notes.items():
            argv += ["--annotate", f"{name}={_printable(str(value))}"]
        state_root = self.data.state_root(claim.repo_id)
        self.pikaci.start(lane.key, argv, state_root, stderr=said)

    def _take(self, claim: Claim) -> Running:
        from jerichoci import RunStore

        lane = Running(
            claim,
            RunStore(self.data.state_root(claim.repo_id)),
            self.directory / "said" / claim.pikaci_run_id,
            time.monotonic() + LEASE_SECS,
            is_cancelling=claim.cancelling,
        )
        self.running[claim.lane_id] = lane
        return lane

    def _hear(self, end: Ended) -> None:
        for lane in self.running.values():
            if lane.key == end.id:
                lane.ended = end

    def _adopt(self) -> None:
        for claim in queue.adoptable(self.database, self._id):
            if claim.lane_id in self.running:
                del self.running[claim.lane_id]
            lane = self._take(claim)
            if not lane.store.layout.run(lane.key).root.is_dir() and not self.pikaci.knows(
                lane.key
            ):
                del self.running[claim.lane_id]
                queue.never_started(self.database, claim.lane_id, claim.token)

    def _renew(self) -> None:
        for lane in self.running.values():
            before = lane.has_begun
            lane.look()
            if lane.has_begun and not before:
                queue.started(self.database, lane.claim.lane_id, lane.claim.token)
        asked = {id_: (lane.claim.token, lane.progress) for id_, lane in self.running.items()}
        at = time.monotonic()
        renewal = queue.renew(self.database, self._id, asked)
        for id_, lane in self.running.items():
            if id_ in renewal.lost:
                lane.is_lost = True
            else:
                lane.lease_until = at + LEASE_SECS
            lane.is_cancelling = lane.is_cancelling or id_ in renewal.cancelling
        self._renew_at = at + self.renew_secs * random.uniform(0.8, 1.0)  # noqa: S311 - jitter
        self._check_clocks()

    def _check_clocks(self) -> None:
        """A machine that slept, or whose clock was set, is said; leases are the database's."""
        wall, monotonic = time.time(), time.monotonic()
        apart = abs((wall - self._clocks[0]) - (monotonic - self._clocks[1]))
        self._clocks = (wall, monotonic)
        if apart > CLOCKS_APART_SECS:
            self._print(
                f"the clocks are {apart:.0f} s apart: the machine slept, or its time was set"
            )

    def _finish(self) -> None:
        for id_, lane in list(self.running.items()):
            if not lane.is_over(is_told=self.pikaci.knows(lane.key)):
                continue
            del self.running[id_]
            if not lane.is_lost:
                self._end(lane, verdict(lane.store, lane.key, lane.ended, lane.what_was_said()))

    def _end(self, lane: Running, ending: Ending) -> None:
        claim = lane.claim
        try:
            if not lane.has_begun and lane.store.layout.run(lane.key).root.is_dir():
                queue.started(self.database, claim.lane_id, claim.token)
            queue.finish(self.database, claim.lane_id, claim.token, ending)
        except DatabaseError:
            self.results.keep(claim.lane_id, claim.token, ending)
            raise
        lane.said.unlink(missing_ok=True)

    def _deliver(self) -> None:
        for path, lane, token, ending in self.results.kept():
            queue.finish(self.database, lane, token, ending)
            path.unlink()

    def _stop_what_must(self) -> None:
        now = time.monotonic()
        for id_, lane in list(self.running.items()):
            is_late = now > lane.lease_until - LEASE_MARGIN_SECS
            if not (lane.is_cancelling or lane.is_lost or is_late):
                continue
            self._stop(lane, now)
            if not is_late or not lane.is_over(is_told=self.pikaci.knows(lane.key)):
                continue
            del self.running[id_]
            if not lane.is_lost:
                why = "the forge's database could not be reached for a whole lease"
                ending = broken("database_away", why)
                self.results.keep(lane.claim.lane_id, lane.claim.token, ending)

    def _stop(self, lane: Running, now: float) -> None:
        """Ask a run to end; kill its processes if it doesn't."""
        if lane.stop_asked_at is not None and now - lane.stop_asked_at < CANCEL_SECS:
            return
        lane.stop_asked_at = now
        lane.stops += 1
        argv = ["cancel", lane.key] if lane.stops == 1 else ["reap"]
        key = f"{argv[0]}-{lane.key}-{lane.stops}"
        if lane.stops > 1:
            _kill(lane)
        self.pikaci.start(key, argv, lane.store.layout.root, stderr=self.directory / "stop.log")

    def _say(self, text: str) -> None:
        """Say what holds this worker up, once; an empty text says that nothing does."""
        if text != self._said:
            self._print(text or "works again")
        self._said = text

    def _print(self, text: str) -> None:
        sys.stderr.write(f"pika-git: worker {self.name}: {text}\n")
        sys.stderr.flush()


def _kill(lane: Running) -> None:
    """Kill the process that holds the run's lock."""
    import os
    import signal

    path = lane.store.layout.run(lane.key).root / "owner.lock"
    with suppress(OSError, ValueError, KeyError):
        import json

        owner = json.loads(path.read_bytes())
        if lane.store.is_running(lane.key):
            os.kill(int(owner["pid"]), signal.SIGKILL)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:900]
