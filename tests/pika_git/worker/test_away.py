"""What a worker does while the database, its own process or its clock is away."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from disk import fill, mounted
from e2e.project import wait_for
from pika_git.persistence import queue
from pika_git.persistence.queue import Ending, LaneState
from pika_git.persistence.wakes import ring
from pika_git.worker.results import Results
from pika_git.worker.worker import Times, Worker
from worker_forge import Forge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMES = Times(renew=0.3, lease=3.0, margin=1.5, cancel=2.0, away=0.5, answer=5.0)


@pytest.fixture
def worker(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker in this process, with short leases; the test makes its steps."""
    monkeypatch.setattr(os, "environ", os.environ | forge.env())
    host = socket.gethostname()
    with Worker(forge.database, forge.data, "w", host, frozenset(), 2, TIMES) as worker:
        yield worker


def step_until(worker: Worker, look: Callable[[], object], secs: float = 60.0) -> None:
    def is_there() -> bool:
        worker.step()
        return bool(look())

    wait_for(is_there, secs)


class Away:
    """The database is gone, and comes back as it was."""

    def __init__(self, path: Path) -> None:
        self._path, self._aside = path, path.with_name("aside")

    def __enter__(self) -> None:
        self._path.rename(self._aside)

    def __exit__(self, *_error: object) -> None:
        self._aside.rename(self._path)


def test_without_the_database_a_run_is_stopped_before_its_lease_ends(
    forge: Forge, worker: Worker, capfd: pytest.CaptureFixture[str]
) -> None:
    (lane,) = forge.queue("slow")
    step_until(worker, forge.readers)
    with Away(forge.data.database):
        lease_until = worker.running[lane].lease_until
        step_until(worker, lambda: not worker.running)
        assert time.monotonic() < lease_until
        assert not forge.readers()
        (kept,) = worker.results.directory.iterdir()
        assert json.loads(kept.read_bytes())["ending"]["cause"]["code"] == "database_away"
    step_until(worker, lambda: len(forge.attempts(lane)) == 2)
    first, second = forge.attempts(lane)
    assert (first.state, first.failure_kind, first.refused) == ("failed", "infrastructure", None)
    assert list(worker.results.directory.iterdir()) == []
    step_until(worker, forge.readers)
    forge.let_go()
    step_until(worker, lambda: forge.state(lane) == "success")
    assert second.number == 2
    said = capfd.readouterr().err
    assert said.count("is gone") == 1
    assert "database: works again" in said


def test_a_run_that_ends_without_the_database_keeps_its_verdict(
    forge: Forge, worker: Worker
) -> None:
    (lane,) = forge.queue("slow")
    step_until(worker, forge.readers)
    with Away(forge.data.database):
        forge.let_go()
        step_until(worker, lambda: not worker.running)
    step_until(worker, lambda: forge.state(lane) == "success")
    (attempt,) = forge.attempts(lane)
    assert (attempt.state, attempt.refused) == ("success", None)


def test_a_result_that_was_kept_is_delivered_by_the_next_worker(forge: Forge) -> None:
    (lane,) = forge.queue("pass")
    worker = forge.worker()
    forge.until(lane, "success")
    worker.kill()
    worker.wait()
    results = Results(forge.data.worker("w") / "results")
    results.keep(lane, forge.lane(lane).token, Ending(LaneState.FAILED, "infrastructure"))
    (results.directory / "damaged.json").write_text("{")
    forge.worker()
    wait_for(lambda: not list(results.directory.glob("*.json")))
    (attempt,) = forge.attempts(lane)
    assert attempt.state == forge.state(lane) == "success"
    assert "came late" in attempt.refused
    assert (results.directory / "damaged.damaged").exists()


def test_a_worker_that_hung_lets_go_of_what_another_has_adopted(forge: Forge) -> None:
    (lane,) = forge.queue("slow")
    hung = forge.worker(name="hung")
    forge.until_reading(lane)
    hung.send_signal(signal.SIGSTOP)
    change(forge, "UPDATE lease SET expires_at = 0")
    other = forge.worker(name="other")
    wait_for(lambda: forge.lane(lane).token == 2)
    hung.send_signal(signal.SIGCONT)
    ring(forge.data.wakes)
    change(forge, "UPDATE worker SET seen_at = 0 WHERE name = 'hung'")
    wait_for(lambda: one(forge, "SELECT seen_at FROM worker WHERE name = 'hung'") > 0)
    assert forge.readers()
    forge.let_go()
    forge.until(lane, "success")
    (attempt,) = forge.attempts(lane)
    assert (attempt.state, attempt.refused) == ("success", None)
    assert other.poll() is hung.poll() is None


def test_a_run_that_was_given_up_is_stopped(forge: Forge) -> None:
    (lane,) = forge.queue("slow")
    worker = forge.worker()
    forge.until_reading(lane)
    worker.kill()
    worker.wait()
    change(forge, "UPDATE lease SET expires_at = 0")
    queue.recover_run(forge.database, forge.lane(lane).run_id, "ann", "the machine is lost")
    assert forge.readers()
    forge.worker("--label", "other")
    wait_for(lambda: "cancelled" in status(forge, forge.attempts(lane)[0].pikaci_run_id))


def test_a_full_disk_takes_no_lane_until_it_has_room(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "400m") as directory:
        forge = Forge.below(directory)
        with forge.ending_all():
            forge.worker()
            wait_for((forge.data.wakes / "worker-w.sock").exists)
            filler = fill(directory, leave=100 * 1024 * 1024)
            (lane,) = forge.queue("pass")
            wait_for(lambda: one(forge, "SELECT trouble FROM worker"))
            assert "is full: no lane is taken until it has room" in forge.said()
            wait_for(lambda: "is full" in troubles(forge).get("w", ""))
            assert forge.state(lane) == "queued"
            filler.unlink()
            forge.until(lane, "success")
            assert one(forge, "SELECT trouble FROM worker") is None


def test_files_that_fail_are_said_once_and_the_worker_goes_on(
    forge: Forge,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", fail)
        (lane,) = forge.queue("pass")
        for _ in range(3):
            worker.step()
        assert forge.state(lane) == "queued"
        assert "can't be read" in one(forge, "SELECT trouble FROM worker")
    step_until(worker, lambda: forge.state(lane) == "success")
    with monkeypatch.context() as patched:
        token = forge.lane(lane).token
        worker.results.keep(lane, token, Ending(LaneState.FAILED, "infrastructure"))
        (worker.results.directory / "damaged.json").write_text("{")
        patched.setattr(Path, "unlink", fail)
        patched.setattr(Path, "rename", fail)
        patched.setattr(worker.pikaci, "ended", fail)
        for _ in range(3):
            worker.step()
        refused = forge.attempts(lane)[0].refused
        assert refused.count("came late") == 1
    worker.step()
    assert [path.name for path in worker.results.directory.iterdir()] == ["damaged.damaged"]
    said = capfd.readouterr().err
    for what in ("disk", "results", "files"):
        assert said.count(f"{what}: works again") == 1
    assert said.count("can't be read: Input/output error") == 1
    assert said.count("could not remove a result") == 1


def troubles(forge: Forge) -> dict[str, str]:
    """Of workers, as the reason of the lane that waits has them after a sweep."""
    queue.sweep(forge.database)
    detail = json.loads(one(forge, "SELECT detail FROM reason WHERE until IS NULL"))
    found: dict[str, str] = detail.get("troubles", {})
    return found


def change(forge: Forge, statement: str) -> None:
    with forge.database.write() as connection:
        connection.execute(text(statement))


def one(forge: Forge, query: str) -> Any:  # noqa: ANN401 - a column
    with forge.database.read() as connection:
        return connection.execute(text(query)).scalar_one()


def status(forge: Forge, run_id: str) -> str:
    path = forge.data.state_root(1) / "runs" / run_id / "run.json"
    return str(json.loads(path.read_bytes())["status"])
