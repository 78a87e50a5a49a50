"""Pushes, workers, kills and people in any order: what must hold after every step."""

from __future__ import annotations

import random
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from forge_database import CANCELLED, FAILED, INFRASTRUCTURE, PASSED, SKIPPED, TIMEOUT, Forge, lane
from forge_oracle import ACTIVE, Oracle
from pika_git.persistence import health, queue, workers
from pika_git.persistence.queue import LaneClass, RefusedError
from pika_git.persistence.queue.due import look_at_time

if TYPE_CHECKING:
    from pika_git.persistence.queue import Claim, Ending, NewLane

LANES = (
    lane("free"),
    lane("slow", target="free"),
    lane("left", group="g"),
    lane("right", group="g", target="other"),
    lane("far", group="h", labels=("mac",)),
    lane("mac", labels=("mac",), target="other"),
)
HOSTS = {"one": "here", "two": "here", "three": "there"}
NAMES = sorted(HOSTS)
ENDINGS = (PASSED, FAILED, INFRASTRUCTURE, INFRASTRUCTURE, TIMEOUT, CANCELLED, SKIPPED)

ACTIONS = {
    "push": 5,
    "pass_time": 6,
    "sweep": 2,
    "claim": 24,
    "finish": 12,
    "deliver_late": 3,
    "renew": 5,
    "kill": 3,
    "begin_worker": 6,
    "adopt": 3,
    "process_ends_unseen": 2,
    "drain": 2,
    "act_on_lane": 4,
    "act_on_run": 1,
    "pause": 1,
    "clear_health": 1,
}
"""What may happen, and how often."""
STRETCH = 10
"""So many things happen between two decisions of hypothesis."""


class _RollBackError(Exception):
    pass


@dataclass
class Worker:
    """What a worker process has in memory."""

    id: int
    held: dict[int, Claim] = field(default_factory=dict)


class QueueMachine(RuleBasedStateMachine):
    """The database is the forge's; processes and what workers remember are this machine's."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="queue-machine-"))
        self.forge = Forge.in_directory(self.directory)
        self.alive: dict[str, Worker] = {}
        self.processes: dict[str, int] = {}
        self.records: dict[str, Ending] = {}
        self.late: list[Claim] = []
        self.over: dict[int, list[tuple[float, float]]] = {}
        self.attempts: dict[int, int] = {}
        self.ready: set[int] = set()
        self.wakes = 0

    def teardown(self) -> None:
        self.forge.database.engine.dispose()
        shutil.rmtree(self.directory)

    @initialize(cancels=st.booleans())
    def begin(self, cancels: bool) -> None:  # noqa: FBT001 - hypothesis hands it over by name
        self.forge.repo(cancel_superseded=cancels)
        for name in NAMES:
            self.begin_named(name)

    @rule(seed=st.integers(0, 2**64 - 1))
    def things_happen(self, seed: int) -> None:
        """Hypothesis draws rules so unevenly that with one an action few lanes ever ran."""
        some = random.Random(seed)  # noqa: S311 - an example, not a secret
        for _ in range(STRETCH):
            (action,) = some.choices(list(ACTIONS), list(ACTIONS.values()))
            getattr(self, action)(some)
            self.all_holds()

    # What comes in.

    def push(self, some: random.Random) -> None:
        kind, klass = some.choice([("branch", 1), ("branch", 1), ("nightly", 2), ("manual", 0)])
        later = some.choice([None, None, 30.0])
        ref = some.choice("abc")
        run = self.forge.run(f"refs/heads/{ref}", kind=kind, head=ref)
        chosen = sorted(some.sample(range(len(LANES)), some.randint(1, len(LANES))))
        with self.forge.database.write() as connection:
            queue.supersede(connection, run, self.forge.now)
            lanes = [self.new_lane(index, klass, later) for index in chosen]
            queue.enqueue(connection, run, lanes, self.forge.now)

    def new_lane(self, index: int, klass: int, later: float | None) -> NewLane:
        of = LANES[index]
        return lane(
            of.name,
            target=of.target,
            klass=LaneClass(klass),
            group=of.group_name,
            labels=of.labels,
            not_before=None if later is None else self.forge.now + later,
        )

    # Time.

    def pass_time(self, some: random.Random) -> None:
        self.forge.pass_time(some.choice([1, 1, 10, 20, 20, 61, 61, 130, 700, 4000]))

    def sweep(self, _some: random.Random) -> None:
        self.forge.sweep()

    # Workers.

    def claim(self, some: random.Random) -> None:
        self.claim_for(some.choice(NAMES), dies=some.random() < 0.1)

    def claim_for(self, name: str, *, dies: bool) -> None:
        if (worker := self.alive.get(name)) is None:
            return
        expected = Oracle(self.forge).next_for(worker.id)
        claim = self.forge.claim(worker.id)
        assert (claim.lane_id if claim else None) == expected
        if claim is None:
            return
        if dies:
            del self.alive[name]
        else:
            worker.held[claim.lane_id] = claim
            self.processes[claim.pikaci_run_id] = claim.lane_id
            assert queue.started(self.forge.database, claim.lane_id, claim.token)

    def finish(self, some: random.Random) -> None:
        if working := [worker for worker in self.alive.values() if worker.held]:
            worker = some.choice(working)
            claim = worker.held.pop(some.choice(sorted(worker.held)))
            self.report(claim, some.choice(ENDINGS))

    def report(self, claim: Claim, ending: Ending) -> None:
        self.processes.pop(claim.pikaci_run_id, None)
        row = self.forge.lane(claim.lane_id)
        is_taken = row.token == claim.token and row.state in ACTIVE
        before = self.attempt_states(claim.lane_id)
        taken = self.forge.finish(claim, ending)
        assert taken == is_taken or before.get(claim.token) == ending.state
        if not is_taken:
            assert self.attempt_states(claim.lane_id) == before
            assert self.forge.lane(claim.lane_id) == row
        self.late.append(claim)

    def attempt_states(self, lane_id: int) -> dict[int, str]:
        rows = self.forge.all("SELECT token, state FROM attempt WHERE lane_id = :id", id=lane_id)
        return {row[0]: row[1] for row in rows}

    def deliver_late(self, some: random.Random) -> None:
        if self.late:
            late = self.late.pop(some.randrange(len(self.late)))
            self.report(late, some.choice(ENDINGS))

    def renew(self, some: random.Random) -> None:
        ending = some.choice([CANCELLED, CANCELLED, PASSED, INFRASTRUCTURE])
        self.renew_for(some.choice(NAMES), ending)

    def renew_for(self, name: str, ending: Ending) -> None:
        if (worker := self.alive.get(name)) is None:
            return
        asked = {lane_id: (claim.token, 1) for lane_id, claim in worker.held.items()}
        renewal = queue.renew(self.forge.database, worker.id, asked)
        for lane_id in renewal.lost:
            self.late.append(worker.held.pop(lane_id))
        for lane_id in renewal.cancelling:
            self.report(worker.held.pop(lane_id), ending)

    def kill(self, some: random.Random) -> None:
        if worker := self.alive.pop(some.choice(NAMES), None):
            self.late += worker.held.values()

    def begin_worker(self, some: random.Random) -> None:
        if dead := sorted(set(NAMES) - set(self.alive)):
            self.begin_named(some.choice(dead))

    def begin_named(self, name: str) -> None:
        if name in self.alive:
            return
        labels = ("mac",) if name == "three" else ()
        slots = 2 if name == "one" else 1
        self.alive[name] = Worker(self.forge.worker(name, *labels, slots=slots, host=HOSTS[name]))
        self.adopt_for(name)

    def adopt(self, some: random.Random) -> None:
        self.adopt_for(some.choice(NAMES))

    def adopt_for(self, name: str) -> None:
        if (worker := self.alive.get(name)) is None:
            return
        for claim in queue.adoptable(self.forge.database, worker.id):
            assert claim.adopted
            if claim.pikaci_run_id in self.processes:
                worker.held[claim.lane_id] = claim
            elif ending := self.records.get(claim.pikaci_run_id):
                self.report(claim, ending)
            else:
                assert queue.never_started(self.forge.database, claim.lane_id, claim.token)

    def process_ends_unseen(self, some: random.Random) -> None:
        held = {claim.pikaci_run_id for each in self.alive.values() for claim in each.held.values()}
        unseen = sorted(set(self.processes) - held)
        if unseen:
            run_id = some.choice(unseen)
            del self.processes[run_id]
            self.records[run_id] = some.choice(ENDINGS)

    def drain(self, some: random.Random) -> None:
        self.drain_named(some.choice(NAMES), some.choice(["draining", *["active"] * 4]))

    def drain_named(self, name: str, state: str) -> None:
        if name in self.alive:
            with self.forge.database.write() as connection:
                workers.set_state(connection, name, state, self.forge.now)

    # People.

    def act_on_lane(self, some: random.Random) -> None:
        if ids := [row[0] for row in self.forge.all("SELECT id FROM lane ORDER BY id")]:
            self.act(
                some.choice(["cancel_lane", "requeue", "fail_lane", "rerun_lane"]), some.choice(ids)
            )

    def act_on_run(self, some: random.Random) -> None:
        if ids := [row[0] for row in self.forge.all("SELECT id FROM ci_run ORDER BY id")]:
            self.act(some.choice(["cancel_run", "rerun_run", "recover_run"]), some.choice(ids))

    def act(self, action: str, of: int) -> None:
        """A person who says that a run is gone has seen to it."""
        before = {row.id: row for row in self.forge.all("SELECT * FROM lane")}
        runs = dict(
            self.forge.all("SELECT lane_id, pikaci_run_id FROM attempt WHERE state = 'running'")
        )
        with suppress(RefusedError):
            getattr(queue, action)(self.forge.database, of, "ann", "to see what comes")
        for row in self.forge.all("SELECT * FROM lane"):
            was = before.get(row.id)
            if was is not None and was.state in ACTIVE and row.state not in ACTIVE:
                self.processes.pop(runs[row.id], None)
            if was is not None and was.state not in {*ACTIVE, "queued"} and row.state == "queued":
                self.over.setdefault(row.id, []).append((was.finished_at, self.forge.now))

    def pause(self, some: random.Random) -> None:
        self.let_begin(some.random() < 0.9)

    def let_begin(self, is_on: bool) -> None:  # noqa: FBT001
        with self.forge.database.write() as connection:
            if is_on:
                queue.resume(connection, self.forge.now)
            else:
                queue.pause(connection, "lunch", self.forge.now)

    def clear_health(self, some: random.Random) -> None:
        of = some.choice([("target", "free"), ("target", "other"), ("host", "here")])
        repo = 0 if of[0] == "host" else self.forge.repo()
        with self.forge.database.write() as connection:
            health.clear(connection, *of, repo, "it was repaired", self.forge.now)

    # What must hold.

    @invariant()
    def all_holds(self) -> None:
        self.every_running_lane_has_one_owner()
        self.no_group_has_two_holders()
        self.the_time_of_a_lane_has_no_gap()
        self.a_queued_lane_says_what_it_waits_for()
        self.looking_at_everything_finds_nothing_new()
        self.who_may_go_was_woken()
        self.runs_follow_from_their_lanes()
        self.nothing_is_forgotten()

    def every_running_lane_has_one_owner(self) -> None:
        rows = self.forge.all(
            "SELECT lane.id, lane.state, lane.token,"
            " (SELECT group_concat(token) FROM lease WHERE lane_id = lane.id) AS leases,"
            " (SELECT group_concat(token) FROM attempt WHERE lane_id = lane.id"
            "  AND state = 'running') AS attempts FROM lane"
        )
        for row in rows:
            owned = str(row.token) if row.state in ACTIVE else None
            assert (str(row.leases) if row.leases is not None else None) == owned, row
            assert row.attempts == owned, row

    def no_group_has_two_holders(self) -> None:
        group = dict(self.forge.all("SELECT id, group_name FROM lane"))
        alive = [group[lane_id] for lane_id in self.processes.values() if group[lane_id]]
        assert len(alive) == len(set(alive))
        holders = self.forge.all(
            "SELECT group_name, lane_id FROM group_hold WHERE until IS NULL ORDER BY 1"
        )
        assert holders == self.forge.all(
            "SELECT group_name, id FROM lane WHERE state IN ('running', 'cancelling')"
            " AND group_name IS NOT NULL ORDER BY 1"
        )

    def the_time_of_a_lane_has_no_gap(self) -> None:
        spans: dict[int, list[tuple[float, float | None]]] = {}
        for query in (
            "SELECT lane_id, since, until FROM reason ORDER BY id",
            "SELECT lane_id, claimed_at, finished_at FROM attempt ORDER BY id",
        ):
            for lane_id, since, until in self.forge.all(query):
                spans.setdefault(lane_id, []).append((since, until))
        for lane_id, over in self.over.items():
            spans[lane_id] += over
        for row in self.forge.all("SELECT id, enqueued_at, finished_at FROM lane"):
            at: float | None = row.enqueued_at
            for since, until in sorted(spans[row.id], key=lambda span: (span[0], span[1] or 1e99)):
                assert since == at, (row, sorted(spans[row.id], key=str))
                at = until
            assert at == row.finished_at

    def a_queued_lane_says_what_it_waits_for(self) -> None:
        rows = self.forge.all(
            "SELECT lane.id, lane.state, lane.reason, group_concat(reason.code) AS codes FROM lane"
            " LEFT JOIN reason ON reason.lane_id = lane.id AND until IS NULL GROUP BY lane.id"
        )
        for row in rows:
            assert row.codes == row.reason, row
            assert (row.reason is not None) == (row.state == "queued"), row

    def looking_at_everything_finds_nothing_new(self) -> None:
        oracle = Oracle(self.forge)
        with suppress(_RollBackError), self.forge.database.write() as connection:
            look_at_time(connection, self.forge.now)
            assert queue.refresh_reasons(connection, self.forge.now) == 0
            rows = connection.exec_driver_sql("SELECT id FROM lane WHERE ready = 1").all()
            ready = {row[0] for row in rows}
            raise _RollBackError
        assert ready == {lane.id for lane in oracle.queued if oracle.is_claimable(lane)}

    def who_may_go_was_woken(self) -> None:
        ready = {row[0] for row in self.forge.all("SELECT id FROM lane WHERE ready = 1")}
        wakes = self.forge.one("SELECT coalesce(max(id), 0) FROM wake")[0]
        assert ready <= self.ready or wakes > self.wakes
        self.ready, self.wakes = ready, wakes

    def runs_follow_from_their_lanes(self) -> None:
        states: dict[int, set[str]] = {}
        for run, state in self.forge.all("SELECT run_id, state FROM lane"):
            states.setdefault(run, set()).add(state)
        for row in self.forge.all("SELECT id, state, finished_at FROM ci_run"):
            of = states[row.id]
            is_over = not of & {"queued", *ACTIVE}
            assert (row.finished_at is not None) == is_over
            if is_over:
                order = ("failed", "cancelled", "success", "skipped")
                assert row.state == next(state for state in order if state in of)
            else:
                assert row.state == "running" or (row.state == "queued" and not of & ACTIVE)

    def nothing_is_forgotten(self) -> None:
        counts = dict(self.forge.all("SELECT lane_id, count(*) FROM attempt GROUP BY 1"))
        assert all(counts[lane_id] >= before for lane_id, before in self.attempts.items())
        self.attempts = counts
        retries = "SELECT head, sum(retries_used), max(retries_used) FROM lane JOIN ci_run"
        for row in self.forge.all(f"{retries} ON ci_run.id = run_id GROUP BY head"):
            assert row[1] <= 10
            assert row[2] <= 2


def everything_ends(machine: QueueMachine) -> None:
    """Whatever the state: with all workers back and nothing closed, each lane comes to an end."""
    forge = machine.forge
    machine.let_begin(True)  # noqa: FBT003
    for name in NAMES:
        machine.begin_named(name)
        machine.drain_named(name, "active")
    for _ in range(2000):
        forge.pass_time(20)
        progress = False
        for name, worker in machine.alive.items():
            machine.renew_for(name, CANCELLED)
            machine.adopt_for(name)
            for claim in list(worker.held.values()):
                machine.report(worker.held.pop(claim.lane_id), PASSED)
            machine.claim_for(name, dies=False)
            progress = progress or bool(worker.held)
        if not progress and not forge.all(
            "SELECT 1 FROM lane WHERE state IN ('queued', 'running', 'cancelling')"
        ):
            return
    left: Any = forge.all("SELECT * FROM lane WHERE state IN ('queued', 'running', 'cancelling')")
    raise AssertionError(left)


class EndingMachine(QueueMachine):
    def teardown(self) -> None:
        try:
            everything_ends(self)
        finally:
            super().teardown()


EndingMachine.TestCase.settings = settings(
    max_examples=10,
    stateful_step_count=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestQueue = EndingMachine.TestCase


@pytest.mark.parametrize("seed", range(4))
def test_a_long_time_of_anything(seed: int) -> None:
    """Hypothesis finds short ways; what takes many steps to come about is found here."""
    some = random.Random(seed)  # noqa: S311 - an example, not a secret
    machine = EndingMachine()
    try:
        machine.begin(cancels=bool(seed % 2))
        for _ in range(15):
            machine.things_happen(seed=some.getrandbits(64))
        everything_ends(machine)
    finally:
        QueueMachine.teardown(machine)
