"""The worker's loop.

- A lane is this worker's while it renews its lease: every RENEW_SECS, give or take, and at once
  when woken. What it hears then: which lanes it lost, and which are to be cancelled.
- A run is started under the id that the claim has. Whatever is killed, that id finds the run again:
  it lives while its owner lock is held, and its record has the verdict. `pikaci` refuses an id that
  exists. So an adopted lane whose run isn't there is started under its id once more, and it runs
  once, even if the process that the former worker started was only slow.
- A lane that another worker adopted is let go. Of one that was lost otherwise the run is stopped.
- A run is over when its process has ended, and what a killed one left has been reaped. Only then
  is its lane's end reported.
- A database that is away stops no run at first. Before a lease ends by this process's monotonic
  clock its run is stopped. Ends are kept on disk and delivered when the database is back, which
  refuses those that came too late.
"""

from __future__ import annotations

import random
import select
import shutil
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from jerichoci import PikaciError
from pika_git.persistence import queue, wakes, workers
from pika_git.persistence.database import DatabaseError
from pika_git.persistence.queue import LaneState
from pika_git.persistence.queue.model import LEASE_SECS, RENEW_SECS
from pika_git.pikaci_process import ANSWER_SECS, Ended, Pikaci
from pika_git.worker.results import Results
from pika_git.worker.running import Run, Running
from pika_git.worker.verdict import broken, has_sources, verdict, with_note

if TYPE_CHECKING:
    from pathlib import Path

    from pika_git.data import DataDir
    from pika_git.persistence.database import Database
    from pika_git.persistence.queue import Claim, Ending

IDLE_SECS = 1.0
"""How often to look though nothing was heard: a datagram may be lost."""
BEGIN_SECS = 0.05
"""How often to look whether a run that was started has begun: it takes a few of these."""
WOKEN_SECS = 0.25
"""Many wakes within that time are answered by one renewal."""
CANCEL_SECS = 60.0
"""What a run has to end after it was asked to; then its processes are killed."""
AWAY_SECS = 8.0
"""The same, if its lease is about to end."""
LEASE_MARGIN_SECS = 30.0
"""How long before the end of its lease a run is stopped, if the lease can't be renewed.

Two looks at a locked database take 20 s, one before it is asked to end, one before it is killed.
"""
FREE_BYTES = 128 * 1024 * 1024
"""Less room than this, and no lane is claimed: its run could not be recorded."""


@dataclass(frozen=True)
class Times:
    """In seconds; tests have shorter ones."""

    renew: float = RENEW_SECS
    lease: float = LEASE_SECS
    margin: float = LEASE_MARGIN_SECS
    cancel: float = CANCEL_SECS
    away: float = AWAY_SECS
    answer: float = ANSWER_SECS


@dataclass
class Worker:
    """One worker process."""

    database: Database
    data: DataDir
    name: str
    host: str
    labels: frozenset[str]
    slots: int
    times: Times = field(default_factory=Times)
    running: dict[int, Running] = field(default_factory=dict)
    strays: dict[str, Run] = field(default_factory=dict)
    """Runs of this host whose lanes were given up: they are stopped."""
    _id: int = 0
    _renew_at: float = 0.0
    _adopt_at: float = 0.0
    _is_ending: bool = False
    _drains: bool = False
    _is_disk_noted: bool = False
    _troubles: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._held = ExitStack()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.directory / "said").mkdir(mode=0o700, exist_ok=True)
        self.results = Results(self.directory / "results")
        pikaci = Pikaci(self.directory / "pikaci.log", answer_secs=self.times.answer)
        self.pikaci = self._held.enter_context(pikaci)
        self.data.wakes.mkdir(mode=0o700, exist_ok=True)
        listener = wakes.Listener(self.data.wakes, f"worker-{self.name}")
        self.listener = self._held.enter_context(listener)
        self._id = workers.register(self.database, self.name, self.host, self.labels, self.slots)
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
        """Claim no more, and end: at once, or when what runs is over. A second call ends it."""
        self._drains = drains and not self._is_ending
        self._is_ending = True

    def run(self) -> None:
        """Work until it is told to end."""
        while not (self._is_ending and (not self._drains or not self.running)):
            self.step()
            self._wait()

    def step(self) -> None:
        """Do all that can be done now. What files refuse is said, and tried again."""
        troubles = []
        for part in (self._hear_all, self._settle, self._exchange, self._stop):
            try:
                part()
            except OSError as error:
                troubles.append(str(error))
        self._say("files", "; ".join(troubles))

    def _hear_all(self) -> None:
        for end in self.pikaci.ended():
            self._hear(end)

    def _exchange(self) -> None:
        """Tell the database what happened here, and hear from it."""
        try:
            self._report()
            if self._adopt_at == 0.0:
                self._adopt()
            self._claim()
            if time.monotonic() >= self._renew_at:
                self._renew()
            if time.monotonic() >= self._adopt_at:
                self._adopt()
            self._say("database", "")
        except DatabaseError as error:
            self._say("database", f"{error}")
            self._keep_ends()

    def _wait(self) -> None:
        now = time.monotonic()
        is_starting = any(lane.run.is_starting() for lane in self.running.values())
        until = min(BEGIN_SECS if is_starting else IDLE_SECS, max(BEGIN_SECS, self._renew_at - now))
        poll = select.poll()
        for fileno in (self.listener.fileno(), *self.pikaci.filenos):
            poll.register(fileno, select.POLLIN)
        found = [fileno for fileno, _ in poll.poll(until * 1000)]
        if self.listener.fileno() in found:
            self.listener.drain()
            woken = self._renew_at - self.times.renew * 0.8 + WOKEN_SECS
            self._renew_at = min(self._renew_at, woken)

    def _claim(self) -> None:
        while not self._is_ending and len(self.running) < self.slots and self._has_disk():
            lease_until = time.monotonic() + self.times.lease
            claim = queue.claim(self.database, self._id)
            if claim is None:
                return
            if (lane := self._take(claim, lease_until)) is not None:
                self._start(lane)

    def _has_disk(self) -> bool:
        trouble = ""
        try:
            if shutil.disk_usage(self.data.root).free < FREE_BYTES:
                trouble = (
                    f"the disk of {self.data.root} is full: no lane is taken until it has room"
                )
        except OSError as error:
            trouble = f"the disk of {self.data.root} can't be read: {error.strerror}"
        self._say("disk", trouble)
        if bool(trouble) != self._is_disk_noted:
            workers.set_trouble(self.database, self._id, trouble or None)
            self._is_disk_noted = bool(trouble)
        return not trouble

    def _take(self, claim: Claim, lease_until: float) -> Running | None:
        """Have a lane from now on; None if its row can't be right."""
        lane = Running(claim, self._run(claim.repo_id, claim.pikaci_run_id), lease_until)
        lane.is_cancelling = claim.cancelling
        try:
            lane.run.look()
        except PikaciError as error:
            self._end(claim, broken("claim_invalid", str(error)))
            return None
        self.running[claim.lane_id] = lane
        return lane

    def _run(self, repo_id: int, run_id: str) -> Run:
        from jerichoci import RunStore

        store = RunStore(self.data.state_root(repo_id))
        return Run(run_id, store, self.pikaci, self.directory / "said")

    def _start(self, lane: Running) -> None:
        claim = lane.claim
        if claim.plan_path is None or not has_sources(lane.run.store):
            lane.ended = Ended(lane.run.key, error="the lane has no plan")
            return
        notes = {"forge": self.host, "repo": claim.repo_name, "run": claim.run_id}
        notes |= {"lane": claim.name, "lane_id": claim.lane_id, "attempt": claim.attempt_number}
        notes |= {"by": claim.by}
        argv = ["run", "--plan", claim.plan_path, claim.target, "--run-id", lane.run.key]
        # One word: a branch's name may begin with a dash.
        argv.append(f"--branch={claim.ref.removeprefix('refs/heads/')}")
        if not claim.trusted:
            argv += ["--cache", "read"]
        for name, value in notes.items():
            argv += ["--annotate", f"{name}={_printable(str(value))}"]
        self.pikaci.start(lane.run.key, argv, lane.run.store.layout.root, stderr=lane.run.said)

    def _hear(self, end: Ended) -> None:
        for run in self.strays.values():
            run.hear(end)
        for lane in self.running.values():
            lane.run.hear(end)
            if lane.run.key == end.id:
                # Of two that were started under one id, the end of the refused one says nothing.
                lane.ended = Ended(end.id, error=end.error) if lane.claim.adopted else end

    def _adopt(self) -> None:
        self._adopt_at = time.monotonic() + self.times.renew
        lease_until = time.monotonic() + self.times.lease
        for claim in queue.adoptable(self.database, self._id):
            before = self.running.get(claim.lane_id)
            if before is not None and before.run.key == claim.pikaci_run_id:
                before.claim, before.lease_until, before.is_lost = claim, lease_until, False
            elif (lane := self._take(claim, lease_until)) is not None and not lane.run.has_begun:
                self._start(lane)
        self._find_strays()

    def _find_strays(self) -> None:
        """Find runs that live on though the queue has given them up.

        They belong to lanes whose worker was away for long, or which a person took away from it.
        """
        own = {lane.run.key for lane in self.running.values()} | set(self.strays)
        for repo_id, run_id in queue.abandoned(self.database, self._id):
            run = self._run(repo_id, run_id)
            with suppress(PikaciError):
                if run_id not in own and run.store.is_running(run_id):
                    self.strays[run_id] = run

    def _renew(self) -> None:
        asked = {}
        for id_, lane in self.running.items():
            lane.run.look_at_progress()
            asked[id_] = (lane.claim.token, lane.run.progress)
        at = time.monotonic()
        renewal = queue.renew(self.database, self._id, asked)
        for id_ in asked:
            lane = self.running[id_]
            if id_ not in renewal.lost:
                lane.lease_until = at + self.times.lease
            elif queue.still_runs(self.database, lane.run.key):
                del self.running[id_]  # another worker has adopted it
            else:
                lane.is_lost = True
            lane.is_cancelling = lane.is_cancelling or id_ in renewal.cancelling
        self._renew_at = at + self.times.renew * random.uniform(0.8, 1.0)  # noqa: S311 - jitter

    def _settle(self) -> None:
        """See which runs are over, and what became of their lanes."""
        for id_, lane in list(self.running.items()):
            if not lane.run.is_over():
                continue
            del self.running[id_]
            lane.run.look()
            ending = verdict(lane.run.store, lane.run.key, lane.ended, lane.run.what_was_said())
            if lane.is_away and ending.state is not LaneState.SUCCESS:
                why = "the forge's database could not be reached, and its lease was about to end"
                ending = broken("database_away", why)
            ending = with_note(ending, lane.run.what_is_left())
            lane.run.forget()
            if not lane.is_lost:
                self._note_begin(lane)
                self._end(lane.claim, ending)

    def _end(self, claim: Claim, ending: Ending) -> None:
        self.results.add(claim.lane_id, claim.token, ending)

    def _note_begin(self, lane: Running) -> None:
        if lane.run.has_begun and not lane.is_noted:
            with suppress(DatabaseError):
                queue.started(self.database, lane.claim.lane_id, lane.claim.token)
                lane.is_noted = True

    def _report(self) -> None:
        try:
            self.results.deliver(self.database)
            self._say("results", "")
        except OSError as error:
            self._say("results", f"could not remove a result: {error}")
        for lane in self.running.values():
            if lane.run.look():
                self._note_begin(lane)

    def _keep_ends(self) -> None:
        try:
            self.results.keep_all()
            self._say("results", "")
        except OSError as error:
            self._say("results", f"could not keep a result: {error.strerror}")

    def _stop(self) -> None:
        """Stop what was cancelled, what is no longer this worker's, what could soon not be."""
        now = time.monotonic()
        for lane in self.running.values():
            if now > lane.lease_until - self.times.margin:
                lane.is_away = True
                lane.run.stop(self.times.away)
            elif lane.is_cancelling or lane.is_lost or lane.is_away or lane.run.is_late_to_begin():
                lane.run.stop(self.times.cancel)
        for key, run in list(self.strays.items()):
            run.stop(self.times.cancel)
            if run.is_over():
                run.forget()
                del self.strays[key]

    def _say(self, what: str, text: str) -> None:
        """Say what holds this worker up, once; an empty text says that it no longer does."""
        if text != self._troubles.get(what, ""):
            self._print(text or f"{what}: works again")
        self._troubles[what] = text

    def _print(self, text: str) -> None:
        sys.stderr.write(f"pika-git: worker {self.name}: {text}\n")
        sys.stderr.flush()


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:900]
