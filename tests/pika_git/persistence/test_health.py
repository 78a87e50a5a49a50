from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forge_database import CANCELLED, FAILED, INFRASTRUCTURE, PASSED, SKIPPED, TIMEOUT, Forge, lane
from pika_git.persistence import health, queue

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge.in_directory(tmp_path)


def fail(
    forge: Forge, worker: int, target: str, times: int, ending: queue.Ending = TIMEOUT
) -> None:
    """A target fails so often in a row."""
    for _ in range(times):
        (pushed,) = forge.push(lane(target))
        claim = forge.take(worker)
        assert claim.lane_id == pushed
        forge.finish(claim, ending)


def state(forge: Forge, name: str = "a") -> str:
    return str(forge.one("SELECT state FROM health WHERE name = :name", name=name)[0])


def happened(forge: Forge, name: str = "a") -> list[str]:
    rows = forge.all(
        "SELECT what FROM health_event JOIN health ON health.id = health_id"
        " WHERE name = :name ORDER BY health_event.id",
        name=name,
    )
    return [row[0] for row in rows]


def clear(forge: Forge, kind: str, name: str, repo: int) -> bool:
    with forge.database.write() as connection:
        return health.clear(connection, kind, name, repo, "it was repaired", forge.now)


def test_two_failures_in_a_row_close_a_target_for_a_minute(forge: Forge) -> None:
    worker = forge.worker()
    fail(forge, worker, "a", 1)
    assert state(forge) == "open"
    fail(forge, worker, "a", 1)
    (pushed,) = forge.push(lane("a"))
    (wait,) = forge.waits(pushed)
    assert wait.code == "target_unhealthy"
    assert wait.detail["until"] == forge.now + 60
    assert wait.detail["why"] == "on here: it took too long"
    assert forge.claim(worker) is None
    assert queue.next_change(forge.database) == 60


@pytest.mark.parametrize("ending", [PASSED, FAILED], ids=["success", "test_failure"])
def test_a_verdict_between_two_failures_resets(forge: Forge, ending: queue.Ending) -> None:
    worker = forge.worker()
    fail(forge, worker, "a", 1)
    fail(forge, worker, "a", 1, ending)
    fail(forge, worker, "a", 1)
    assert state(forge) == "open"


@pytest.mark.parametrize("ending", [SKIPPED, CANCELLED], ids=["skipped", "cancelled"])
def test_a_lane_without_a_verdict_says_nothing(forge: Forge, ending: queue.Ending) -> None:
    worker = forge.worker()
    fail(forge, worker, "a", 1)
    (pushed,) = forge.push(lane("a"))
    claim = forge.take(worker)
    if ending is CANCELLED:
        queue.cancel_lane(forge.database, pushed, "ann", "enough")
    forge.finish(claim, ending)
    fail(forge, worker, "a", 1)
    assert state(forge) == "closed"


def test_one_lane_is_the_probe_and_its_verdict_opens_the_target(forge: Forge) -> None:
    worker = forge.worker(slots=3)
    fail(forge, worker, "a", 2)
    first, second, third = (forge.push(lane("a"))[0] for _ in range(3))
    forge.pass_time(60)
    probe = forge.take(worker)
    assert probe.lane_id == first
    assert forge.claim(worker) is None
    assert forge.waits(second)[-1].detail["probe"] == first
    forge.finish(probe, FAILED)
    assert state(forge) == "open"
    assert [forge.take(worker).lane_id, forge.take(worker).lane_id] == [second, third]
    assert happened(forge) == ["failure", "failure", "closed", "trial", "probe", "opened"]


def test_a_probe_that_fails_closes_for_twice_as_long_up_to_an_hour(forge: Forge) -> None:
    worker = forge.worker()
    fail(forge, worker, "a", 2)
    secs = []
    for _ in range(8):
        (row,) = forge.all("SELECT * FROM health WHERE name = 'a'")
        secs.append(row.cool_off_secs)
        forge.pass_time(row.cool_off_secs)
        fail(forge, worker, "a", 1)
    assert secs == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_another_lane_is_the_probe_if_the_first_is_cancelled(forge: Forge) -> None:
    worker = forge.worker()
    fail(forge, worker, "a", 2)
    first, second = (forge.push(lane("a"))[0] for _ in range(2))
    forge.pass_time(60)
    forge.sweep()
    assert forge.reason(first) == "queued"
    queue.cancel_lane(forge.database, first, "ann", "enough")
    claim = forge.take(worker)
    assert claim.lane_id == second
    queue.cancel_lane(forge.database, second, "ann", "enough")
    (third,) = forge.push(lane("a"))
    assert forge.reason(third) == "target_unhealthy"
    forge.finish(claim, CANCELLED)
    assert forge.take(worker).lane_id == third


def test_five_targets_that_fail_on_one_host_close_the_host(forge: Forge) -> None:
    bad, good = forge.worker("bad", host="bad"), forge.worker("good", host="good")
    names = ["a", "b", "c", "d", "e"]
    fail(forge, bad, "a", 2)
    assert state(forge, "a") == "closed"
    for name in names[1:]:
        fail(forge, bad, name, 1)
    assert state(forge, "bad") == "closed"
    assert [state(forge, name) for name in names] == ["open"] * 5
    (pushed,) = forge.push(lane("a"))
    assert forge.claim(bad) is None
    assert forge.take(good).lane_id == pushed


def test_lanes_that_only_a_closed_host_fits_say_so_and_its_probe_opens_it(forge: Forge) -> None:
    worker = forge.worker(slots=3)
    for name in "abcde":
        fail(forge, worker, name, 1)
    first, second = (forge.push(lane(name))[0] for name in "ab")
    (wait,) = forge.waits(first)
    assert wait.code == "host_unhealthy"
    assert wait.detail["hosts"] == ["here"]
    assert wait.detail["until"] == forge.now + 60
    forge.pass_time(60)
    probe = forge.take(worker)
    assert forge.claim(worker) is None
    forge.finish(probe)
    assert state(forge, "here") == "open"
    assert forge.take(worker).lane_id == second


def test_clearing_by_hand_opens_at_once(forge: Forge) -> None:
    worker = forge.worker()
    fail(forge, worker, "a", 2)
    (pushed,) = forge.push(lane("a"))
    assert not clear(forge, "target", "b", 1)
    assert clear(forge, "target", "a", 1)
    assert forge.take(worker).lane_id == pushed
    assert happened(forge)[-1] == "cleared"
    assert not clear(forge, "target", "a", 1)


def test_targets_of_two_repositories_are_two(forge: Forge) -> None:
    worker = forge.worker()
    fail(forge, worker, "a", 2)
    (pushed,) = forge.push(lane("a"), repo="other")
    assert forge.take(worker).lane_id == pushed


def test_infrastructure_closes_the_target_of_a_lane_that_is_retried(forge: Forge) -> None:
    worker = forge.worker()
    (pushed,) = forge.push(lane("a"))
    for _ in range(2):
        forge.finish(forge.take(worker), INFRASTRUCTURE)
    assert forge.state(pushed) == "queued"
    assert forge.reason(pushed) == "target_unhealthy"
    forge.pass_time(60)
    forge.finish(forge.take(worker))
    assert forge.state(pushed) == "success"
    assert state(forge) == "open"
