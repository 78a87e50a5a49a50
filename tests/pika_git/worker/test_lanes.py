"""A worker takes lanes from the queue to their ends, with the real `pikaci`."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from e2e.project import wait_for
from pika_git.persistence import queue
from pika_git.persistence.queue.model import RENEW_SECS

if TYPE_CHECKING:
    from worker_forge import Forge


def test_a_lane_that_passes_is_success(forge: Forge) -> None:
    (lane,) = forge.queue("pass")
    forge.worker()
    forge.until(lane, "success")
    (attempt,) = forge.attempts(lane)
    assert (attempt.state, attempt.exit_code, attempt.cause) == ("success", 0, None)
    assert attempt.claimed_at <= attempt.started_at <= attempt.finished_at


def test_a_lane_that_fails_has_the_cause_of_its_record(forge: Forge) -> None:
    (lane,) = forge.queue("fail")
    forge.worker()
    forge.until(lane, "failed")
    row = forge.lane(lane)
    assert (row.failure_kind, forge.attempts(lane)[0].exit_code) == ("test_failure", 1)
    assert "exited with 3" in row.cause


def test_a_lane_has_the_secrets_of_its_branch_or_is_refused(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = forge.worker()
    (lane,) = forge.queue("secret")
    forge.until(lane, "failed")
    assert (
        "secret TOKEN of job only can't be had: the variable TOKEN_OF_MAIN"
        in forge.lane(lane).cause
    )
    worker.terminate()
    worker.wait()
    monkeypatch.setenv("TOKEN_OF_MAIN", "correct-horse-battery")
    forge.worker()
    (lane,) = forge.queue("secret")
    forge.until(lane, "success")
    log = forge.run_dir(lane) / "jobs/only/attempts/1/host.log"
    assert "***" in log.read_text()


def test_the_record_says_for_what_it_ran(forge: Forge) -> None:
    (lane,) = forge.queue("pass")
    forge.worker()
    forge.until(lane, "success")
    record = json.loads((forge.run_dir(lane) / "run.json").read_bytes())
    notes = record["annotations"]
    assert (notes["lane"], notes["attempt"], notes["by"]) == ("lane-0", "1", "tester")
    assert notes["repo"] == "demo"
    assert record["branch"] == "main"


def test_only_the_default_branch_publishes_caches(forge: Forge) -> None:
    def published(ref: str) -> tuple[str, bool]:
        (lane,) = forge.queue("warm", ref=ref)
        forge.until(lane, "success", "failed")
        record = json.loads((forge.run_dir(lane) / "jobs/only/status.json").read_bytes())
        used = record["execution"]["caches"]["own"]
        return used["restored"], used["published"]

    forge.worker()
    branch, main = "refs/heads/branch", "refs/heads/main"
    assert [published(ref) for ref in (branch, main, branch, main)] == [
        ("new", False),
        ("new", True),
        ("exact", False),
        ("exact", True),
    ]


def test_a_lane_that_was_queued_meanwhile_starts_at_once(forge: Forge) -> None:
    forge.idle_secs = 3600.0  # it is woken, or looks when it renews
    forge.worker()
    (first,) = forge.queue("pass")
    forge.until(first, "success")
    (lane,) = forge.queue("pass")
    forge.until(lane, "success")
    (attempt,) = forge.attempts(lane)
    assert attempt.claimed_at - forge.lane(lane).enqueued_at < RENEW_SECS / 2


def test_a_worker_runs_as_many_lanes_as_it_has_slots(forge: Forge) -> None:
    lanes = forge.queue("slow", "slow", "slow")
    forge.worker(slots=2)
    wait_for(lambda: len(forge.readers()) == 2)
    assert [forge.state(lane) for lane in lanes] == ["running", "running", "queued"]
    while forge.state(lanes[2]) == "queued":
        forge.let_go()


def test_a_cancelled_lane_ends_its_run(forge: Forge) -> None:
    (lane,) = forge.queue("slow")
    forge.worker()
    forge.until_reading(lane)
    queue.cancel_lane(forge.database, lane, "ann", "wrong branch")
    forge.until(lane, "cancelled", secs=15)
    assert forge.is_quiet()
    assert json.loads((forge.run_dir(lane) / "run.json").read_bytes())["status"] == "cancelled"
    assert (forge.lane(lane).cancel_by, len(forge.attempts(lane))) == ("ann", 1)


def test_a_run_that_was_cancelled_by_hand_is_run_again(forge: Forge) -> None:
    (lane,) = forge.queue("slow")
    forge.worker()
    forge.until_reading(lane)
    project = forge.project.with_env(PIKACI_STATE_ROOT=str(forge.data.state_root(1)))
    project.pikaci("cancel", "latest").passed()
    wait_for(lambda: len(forge.attempts(lane)) == 2)
    assert (
        forge.attempts(lane)[0].failure_kind == "infrastructure"
        or forge.attempts(lane)[0].state == "cancelled"
    )
    forge.until_reading(lane)
    forge.let_go()
    forge.until(lane, "success")


def test_a_lane_that_was_failed_by_hand_loses_its_run(forge: Forge) -> None:
    (lane,) = forge.queue("slow")
    forge.worker()
    forge.until_reading(lane)
    queue.fail_lane(forge.database, lane, "ann", "it hangs")
    forge.until(lane, "failed", secs=20)
    wait_for(forge.is_quiet, 20)
    assert "it hangs" in forge.lane(lane).cause


def test_a_second_worker_of_a_name_is_refused(forge: Forge) -> None:
    forge.worker()
    wait_for((forge.data.wakes / "worker-w.sock").exists)
    second = forge.worker()
    assert second.wait(20) == 1
    assert "a worker w runs already; give this one another --name" in forge.said()


def test_a_worker_that_is_told_to_end_leaves_its_runs_to_the_next(forge: Forge) -> None:
    (lane,) = forge.queue("slow")
    worker = forge.worker()
    forge.until_reading(lane)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert forge.readers()
    forge.worker()
    wait_for(lambda: forge.lane(lane).token == 2)
    forge.let_go()
    forge.until(lane, "success")
    assert [attempt.number for attempt in forge.attempts(lane)] == [1]


def test_a_worker_that_drains_waits_for_its_runs(forge: Forge) -> None:
    lanes = forge.queue("slow", "pass")
    worker = forge.worker("--drain", slots=1)
    forge.until_reading(lanes[0])
    worker.send_signal(signal.SIGTERM)
    forge.let_go()
    assert worker.wait(20) == 0
    assert [forge.state(lane) for lane in lanes] == ["success", "queued"]


def test_a_state_root_that_was_removed_fails_its_lanes_alone(forge: Forge) -> None:
    forge.worker()
    (first,) = forge.queue("pass")
    forge.until(first, "success")
    forge.data.state_root(1).rename(forge.data.root / "away")
    (lane,) = forge.queue("pass")
    forge.until(lane, "failed")
    row = forge.lane(lane)
    assert (row.failure_kind, row.retries_used) == ("infrastructure", 0)
    message = json.loads(row.cause)["message"]
    assert message == (
        f"{forge.data.state_root(1)}/git is missing, and with it the source of the plan"
    )
    assert len(forge.attempts(lane)) == 1
    assert forge.started[0].poll() is None


@pytest.mark.parametrize("name", ["../x", "", "-x", "a b", "x" * 64])
def test_a_name_that_can_be_no_directory_is_refused(forge: Forge, name: str) -> None:
    assert forge.worker(f"--name={name}").wait(30) == 2
    assert "a name has letters, digits" in forge.said()


def test_a_database_that_is_none_is_said_in_a_sentence(forge: Forge) -> None:
    forge.data.database.write_text("x" * 4096)
    assert forge.worker().wait(30) == 1
    assert "Traceback" not in forge.said()
    assert str(forge.data.database) in forge.said()
