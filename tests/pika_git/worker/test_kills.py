"""Whatever is killed, whenever: one verdict, no lane run twice at a time, no process left.

What is killed (VICTIMS), at each of these points of a lane's life (POINTS):

- claimed: the worker has the lane and has asked for its run, which no process has taken up yet
- spawned: the run's process lives, and its directory has no name yet
- running: the job runs
- finished: the run's record is terminal, and the database does not have it yet
- cancelling: the run was asked to end, and its job is deaf to that
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from pika_git.persistence import queue
from pika_git.persistence.wakes import ring
from worker_forge import Forge

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


TERMINAL = ("success", "failed", "skipped", "cancelled")
VICTIMS = ("service", "worker", "service+worker", "pikaci", "pikaci+worker", "database")
POINTS = ("claimed", "spawned", "running", "finished", "cancelling")


@dataclass
class Scene:
    """A lane at a point of its life; `held` keeps it there."""

    forge: Forge
    worker: subprocess.Popen[bytes]
    service: subprocess.Popen[bytes] = field(init=False)
    lane: int = 0
    is_locked: bool = False
    held: ExitStack = field(default_factory=ExitStack)

    def claimed(self) -> None:
        server = self.forge.serve_pid(self.worker)
        self.held.enter_context(stopped(server))
        (self.lane,) = self.forge.queue("slow")
        self.forge.until(self.lane, "running")

    def spawned(self) -> None:
        self.held.enter_context(self.forge.no_run_begins())
        (self.lane,) = self.forge.queue("slow")
        wait_for(self.forge.pikacis)

    def running(self) -> None:
        (self.lane,) = self.forge.queue("slow")
        self.forge.until_reading(self.lane)

    def finished(self) -> None:
        self.running()
        self.held.enter_context(self.forge.locked())
        self.is_locked = True
        run = self.run_dirs()[0]
        self.forge.let_go()
        wait_for(lambda: json.loads((run / "run.json").read_bytes())["status"] == "passed")
        wait_for(lambda: not self.forge.pikacis())

    def cancelling(self) -> None:
        (self.lane,) = self.forge.queue("deaf")
        self.forge.until_reading(self.lane)
        run = self.forge.run_dir(self.lane)
        queue.cancel_lane(self.forge.database, self.lane, "ann", "it is wrong")
        wait_for((run / "cancel").exists)

    def run_dirs(self) -> list[Path]:
        return sorted((self.forge.data.state_root(1) / "runs").glob("*Z-????????"))

    def kill_worker(self) -> None:
        self.worker.kill()
        self.worker.wait()
        self.forge.worker()

    def kill_pikaci(self) -> None:
        victims = self.forge.pikacis() or [self.forge.serve_pid(self.worker)]
        for pid in victims:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, signal.SIGKILL)

    def kill_service(self) -> None:
        self.service.kill()
        self.service.wait()
        self.service = self.forge.service()

    def kill_database(self) -> None:
        """Another program has it for longer than a writer waits."""
        with self.forge.locked() if not self.is_locked else nullcontext():
            ring(self.forge.data.wakes)
            wait_for(lambda: "is locked" in self.forge.said())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Forge, Path]:
    """A forge for all cells, and a copy of its database as it was at first."""
    directory = tmp_path_factory.mktemp("kills")
    forge = Forge.below(directory)
    return forge, forge.copy_database(directory / "first.db")


@pytest.fixture
def forge(made: tuple[Forge, Path]) -> Iterator[Forge]:
    """Emptied for each cell."""
    forge, database = made
    with forge.emptied(database).ending_all():
        yield forge


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_costs_no_verdict(forge: Forge, victim: str, point: str) -> None:
    scene = Scene(forge, forge.worker())
    victims = victim.split("+")
    if "service" in victims:
        scene.service = forge.service()
    with scene.held:
        getattr(scene, point)()
        for each in victims:
            getattr(scene, f"kill_{each}")()
    want = "cancelled" if point == "cancelling" else "success"
    until(forge, scene.lane, want)
    forge.until_quiet()
    check(forge, scene.lane)


def until(forge: Forge, lane: int, state: str) -> None:
    """Wait for the state, letting go what reads the FIFO."""

    def is_over() -> bool:
        if forge.readers() and forge.state(lane) == "running":
            forge.let_go()
        return forge.state(lane) in TERMINAL

    wait_for(is_over)
    assert forge.state(lane) == state, (forge.lane(lane), forge.attempts(lane), forge.said())


def check(forge: Forge, lane: int) -> None:
    """Each attempt ended once, none ran beside another, and every run belongs to an attempt."""
    attempts = forge.attempts(lane)
    runs = forge.data.state_root(1) / "runs"
    assert {path.name for path in runs.iterdir()} <= {each.pikaci_run_id for each in attempts}
    spans = []
    for attempt in attempts:
        assert attempt.state != "running"
        assert attempt.refused is None, attempt
        path = runs / attempt.pikaci_run_id / "events.jsonl"
        if path.exists():
            events = [json.loads(line) for line in path.read_text().splitlines()]
            assert events[-1]["event"] == "run_finished"
            spans.append((events[0]["ts"], events[-1]["ts"]))
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans)), spans
