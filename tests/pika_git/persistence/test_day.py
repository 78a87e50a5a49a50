"""A day of a busy forge: 300 pushes to 20 branches, 3 groups, and hosts that come and go.

Workers look at the queue only when they are woken, or when the queue said that time changes
something. Time is a parameter, so the day takes seconds.
"""

from __future__ import annotations

import heapq
import random
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from forge_database import CANCELLED, FAILED, INFRASTRUCTURE, PASSED, TIMEOUT, Forge, lane
from forge_oracle import Oracle
from pika_git.persistence import queue
from pika_git.persistence.queue import LaneClass

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pika_git.persistence.queue import Claim, Ending

DAY_SECS = 86_400.0
PUSHES = 300
BRANCHES = 20
RENEW_SECS = 50.0
SWEEP_SECS = 600.0
HOSTS = {"amy": ("here", 2), "bob": ("here", 1), "cat": ("there", 2)}
LANES = (
    lane("unit"),
    lane("lint"),
    lane("guests", group="incus"),
    lane("remote", group="incus"),
    lane("phone", group="phone", labels=("mac",)),
    lane("deploy", group="deploy", target="unit"),
)


class Day:
    """Events by time; `end` is when the last push has come."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge
        self.random = random.Random(300)  # noqa: S311 - the same day each time
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = count()
        self.end = forge.now + DAY_SECS
        self.workers: dict[str, int] = {}
        self.held: dict[str, dict[int, Claim]] = {name: {} for name in HOSTS}
        self.woken = 0
        self.verdicts: dict[int, list[str]] = {}
        self.longest_free = 0.0

    def at(self, secs: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.forge.now + secs, next(self.order), event))

    def live(self) -> None:
        for name in HOSTS:
            self.begin(name)
            self.at(self.random.uniform(0, 7200), partial(self.flap, name))
            self.at(RENEW_SECS, partial(self.renew, name))
        for _ in range(PUSHES):
            self.at(self.random.uniform(0, DAY_SECS), self.push)
        self.at(3600, self.nightly)
        self.at(SWEEP_SECS, self.sweep)
        while self.events and (self.forge.now < self.end or self.is_busy()):
            time, _, event = heapq.heappop(self.events)
            self.forge.pass_time(time - self.forge.now)
            event()
            self.look_if_woken()

    def is_busy(self) -> bool:
        return bool(
            self.forge.all(
                "SELECT 1 FROM lane WHERE state IN ('queued', 'running', 'cancelling') LIMIT 1"
            )
        )

    def push(self) -> None:
        number = int(self.random.triangular(0, BRANCHES, 0))
        run = self.forge.run(f"refs/heads/b{number}")
        chosen = self.random.sample(LANES, self.random.randint(1, len(LANES)))
        with self.forge.database.write() as connection:
            queue.supersede(connection, run, self.forge.now)
            queue.enqueue(connection, run, chosen, self.forge.now)

    def nightly(self) -> None:
        lanes = [lane(f"n{n}", klass=LaneClass.NIGHTLY, group="incus") for n in range(5)]
        self.forge.enqueue(self.forge.run(kind="nightly"), *lanes)

    def begin(self, name: str) -> None:
        host, slots = HOSTS[name]
        labels = ("mac",) if host == "there" else ()
        self.workers[name] = self.forge.worker(name, *labels, slots=slots, host=host)
        for claim in queue.adoptable(self.forge.database, self.workers[name]):
            self.hold(name, claim)

    def flap(self, name: str) -> None:
        """A worker is killed, for a moment or for long; its runs may go on without it."""
        if self.forge.now >= self.end:
            return
        if self.workers.pop(name, None) is not None:
            self.held[name].clear()
            self.at(self.random.choice([1, 30, 90, 1500]), partial(self.begin, name))
        self.at(self.random.uniform(600, 10_800), partial(self.flap, name))

    def renew(self, name: str) -> None:
        self.at(RENEW_SECS, partial(self.renew, name))
        if name not in self.workers:
            return
        asked = {lane_id: (claim.token, -1) for lane_id, claim in self.held[name].items()}
        renewal = queue.renew(self.forge.database, self.workers[name], asked)
        for lane_id in renewal.lost:
            del self.held[name][lane_id]
        for lane_id in renewal.cancelling:
            self.forge.finish(self.held[name].pop(lane_id), CANCELLED)

    def look_if_woken(self) -> None:
        newest = self.forge.one("SELECT coalesce(max(id), 0) FROM wake")[0]
        if newest == self.woken:
            return
        self.woken = newest
        for name, worker in self.workers.items():
            while claim := self.forge.claim(worker):
                self.hold(name, claim)
        self.woken = self.forge.one("SELECT coalesce(max(id), 0) FROM wake")[0]
        if (secs := queue.next_change(self.forge.database)) is not None:
            self.at(secs, self.time_has_come)

    def time_has_come(self) -> None:
        self.woken = -1

    def hold(self, name: str, claim: Claim) -> None:
        self.held[name][claim.lane_id] = claim
        self.at(self.random.uniform(20, 400), partial(self.finish, name, claim))

    def finish(self, name: str, claim: Claim) -> None:
        if self.held[name].get(claim.lane_id) is not claim or name not in self.workers:
            return
        del self.held[name][claim.lane_id]
        ending = self.ending(claim)
        if self.forge.finish(claim, ending) and ending.failure_kind != "infrastructure":
            self.verdicts.setdefault(claim.lane_id, []).append(str(ending.failure_kind))

    def ending(self, claim: Claim) -> Ending:
        """`there` has hours in which nothing works, and `remote` is slow at times."""
        hour = int(self.forge.now // 3600) % 24
        if claim.name == "phone" and hour % 6 == 0:
            return INFRASTRUCTURE
        if claim.name == "remote" and hour % 8 == 1:
            return TIMEOUT
        return FAILED if claim.lane_id % 7 == 0 else PASSED

    def sweep(self) -> None:
        self.at(SWEEP_SECS, self.sweep)
        for name, worker in self.workers.items():
            for claim in queue.adoptable(self.forge.database, worker):
                self.hold(name, claim)
        self.look_if_woken()
        oracle = Oracle(self.forge)
        assert [oracle.next_for(worker) for worker in self.workers.values()] == [None] * len(
            self.workers
        )
        self.forge.sweep()


def test_a_day_of_pushes_ends_with_a_verdict_for_each_lane(tmp_path: Path) -> None:
    forge = Forge.in_directory(tmp_path)
    day = Day(forge)
    day.live()

    lanes = forge.all("SELECT * FROM lane")
    assert len(lanes) > 800
    states = {
        state: [row for row in lanes if row.state == state] for state in {r.state for r in lanes}
    }
    assert set(states) == {"success", "failed", "cancelled"}
    assert {row.failure_kind for row in states["failed"]} == {
        "test_failure",
        "infrastructure",
        "timeout",
    }
    for row in states["failed"]:
        if row.failure_kind != "infrastructure":
            assert day.verdicts[row.id] == [row.failure_kind]
    assert all(row.cancel_reason.startswith("superseded by run") for row in states["cancelled"])
    assert forge.counters().get("lost_wakes", 0) == 0
    assert_groups_had_one_holder(forge)
    assert_waits_have_no_gap(forge)
    assert forge.all("SELECT 1 FROM health_event WHERE what = 'closed'")
    assert forge.all("SELECT 1 FROM ci_run WHERE finished_at IS NULL") == []


def assert_groups_had_one_holder(forge: Forge) -> None:
    last: dict[str, float] = {}
    for row in forge.all("SELECT * FROM group_hold ORDER BY since, id"):
        assert last.get(row.group_name, 0) <= row.since
        last[row.group_name] = row.until
    assert len(last) == 3


def assert_waits_have_no_gap(forge: Forge) -> None:
    spans: dict[int, list[Any]] = {}
    for query in (
        "SELECT lane_id, since, until FROM reason",
        "SELECT lane_id, claimed_at, finished_at FROM attempt",
    ):
        for lane_id, since, until in forge.all(query):
            spans.setdefault(lane_id, []).append((since, until))
    for row in forge.all("SELECT * FROM lane"):
        total = sum(until - since for since, until in spans[row.id])
        assert abs(total - (row.finished_at - row.enqueued_at)) < 1e-3
