from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from forge_scenes import Scene, lane
from pika_git.forge_service import details, recovery
from pika_git.forge_service.errors import ConflictError, InvalidError, MissingError
from pika_git.forge_service.forge import Forge
from pika_git.forge_service.recovery import Act
from pika_git.persistence import audit

if TYPE_CHECKING:
    from collections.abc import Callable

ANN = Act("ann", "the host was full")


@pytest.fixture
def forge(scene: Scene) -> Forge:
    """A forge with a queued lane, 1, a lane that runs, 2, and one that failed, 3."""
    worker = scene.worker(slots=3)
    scene.run(scene.branch(scene.repo(), "main"), [lane("c")])
    scene.finish(scene.claim(worker), "failed", failure_kind="test_failure")
    scene.run(1, [lane("b", group_name="one")])
    scene.claim(worker)
    scene.run(1, [lane("a", group_name="one")])
    return Forge(scene.database, scene.data)


FAILED, RUNNING, QUEUED = 1, 2, 3


def state(scene: Scene, number: int) -> str:
    return str(scene.execute("SELECT state FROM lane WHERE id = :number", number=number))


def entries(forge: Forge) -> list[tuple[str, str, str, str | None]]:
    found = details.admin(forge).audit
    return [(entry.who, entry.action, entry.subject, entry.why) for entry in found]


@pytest.mark.parametrize(
    ("do", "number", "becomes", "action"),
    [
        (recovery.cancel_lane, QUEUED, "cancelled", "cancel"),
        (recovery.cancel_lane, RUNNING, "cancelling", "cancel"),
        (recovery.fail_lane, QUEUED, "failed", "fail"),
        (recovery.fail_lane, RUNNING, "cancelling", "fail"),
        (recovery.requeue_lane, FAILED, "queued", "requeue"),
        (recovery.rerun_lane, FAILED, "failed", "rerun"),
        (recovery.wake_lane, QUEUED, "queued", "wake"),
    ],
)
def test_what_is_done_to_a_lane_is_noted_with_who_and_why(
    scene: Scene,
    forge: Forge,
    do: Callable[[Forge, int, Act], object],
    number: int,
    becomes: str,
    action: str,
) -> None:
    do(forge, number, ANN)
    assert state(scene, number) == becomes
    assert entries(forge) == [("ann", action, f"lane {number}", "the host was full")]


@pytest.mark.parametrize(
    ("do", "number", "says"),
    [
        (recovery.cancel_lane, FAILED, "lane 1 is over: failed"),
        (recovery.fail_lane, FAILED, "lane 1 is over: failed"),
        (recovery.requeue_lane, RUNNING, "lane 2 is running"),
        (recovery.requeue_lane, QUEUED, "lane 3 is queued"),
        (recovery.rerun_lane, RUNNING, "lane 2 is not over: running"),
    ],
)
def test_a_state_that_does_not_allow_it_is_a_conflict_and_changes_nothing(
    scene: Scene, forge: Forge, do: Callable[[Forge, int, Act], object], number: int, says: str
) -> None:
    before = state(scene, number)
    with pytest.raises(ConflictError, match=says):
        do(forge, number, ANN)
    assert state(scene, number) == before
    assert entries(forge) == []


@pytest.mark.parametrize(
    "do",
    [
        lambda forge, act: recovery.cancel_lane(forge, QUEUED, act),
        lambda forge, act: recovery.fail_lane(forge, QUEUED, act),
        lambda forge, act: recovery.requeue_lane(forge, FAILED, act),
        lambda forge, act: recovery.cancel_run(forge, 3, act),
        lambda forge, act: recovery.recover_run(forge, 3, act),
        recovery.pause_queue,
        lambda forge, act: recovery.drain_worker(forge, "one", act),
        lambda forge, act: recovery.clear_health(forge, "host", "builder-1", None, act),
    ],
)
def test_without_a_reason_it_is_not_done(
    scene: Scene, forge: Forge, do: Callable[[Forge, Act], object]
) -> None:
    with pytest.raises(InvalidError, match="say why"):
        do(forge, Act("ann", " \n"))
    assert entries(forge) == []
    assert [state(scene, number) for number in (1, 2, 3)] == ["failed", "running", "queued"]


@pytest.mark.parametrize(
    "do",
    [
        lambda forge: recovery.cancel_lane(forge, 99, ANN),
        lambda forge: recovery.rerun_lane(forge, 99, ANN),
        lambda forge: recovery.wake_lane(forge, 99, ANN),
        lambda forge: recovery.rerun_run(forge, 99, ANN),
        lambda forge: recovery.recover_run(forge, 99, ANN),
        lambda forge: recovery.drain_worker(forge, "none", ANN),
        lambda forge: recovery.clear_health(forge, "target", "a", "none", ANN),
        lambda forge: recovery.revoke_token(forge, 99, "ann"),
    ],
)
def test_what_does_not_exist_is_missing(forge: Forge, do: Callable[[Forge], object]) -> None:
    with pytest.raises(MissingError, match="there is no"):
        do(forge)
    assert entries(forge) == []


def test_a_rerun_names_what_it_runs_again(scene: Scene, forge: Forge) -> None:
    run = recovery.rerun_run(forge, 1, Act("ann"))
    assert scene.execute("SELECT rerun_of FROM ci_run WHERE id = :run", run=run) == 1
    assert scene.execute("SELECT rerun_of FROM lane WHERE run_id = :run", run=run) == FAILED
    assert entries(forge) == [("ann", "rerun", "run 1", None)]
    assert json.loads(scene.execute("SELECT detail FROM audit")) == {"run": run}


def test_a_run_is_cancelled_with_what_is_left_of_it(scene: Scene, forge: Forge) -> None:
    assert recovery.cancel_run(forge, 3, ANN) == 1
    assert state(scene, QUEUED) == "cancelled"
    with pytest.raises(ConflictError, match="run 3 is over"):
        recovery.cancel_run(forge, 3, ANN)


def test_a_run_whose_worker_is_gone_is_recovered(scene: Scene, forge: Forge) -> None:
    scene.execute("UPDATE lease SET expires_at = 0")
    assert recovery.recover_run(forge, 2, ANN) == 1
    assert state(scene, RUNNING) == "queued"
    assert entries(forge)[0][:3] == ("ann", "recover", "run 2")


def test_a_paused_queue_lets_nothing_begin(forge: Forge) -> None:
    recovery.cancel_lane(forge, RUNNING, ANN)
    recovery.pause_queue(forge, ANN)
    from pika_git.persistence import queue

    assert queue.claim(forge.database, 1) is None
    recovery.resume_queue(forge, Act("ben"))
    assert [entry[:2] for entry in entries(forge)] == [
        ("ben", "resume"),
        ("ann", "pause"),
        ("ann", "cancel"),
    ]


def test_a_worker_is_drained_and_resumed(scene: Scene, forge: Forge) -> None:
    recovery.drain_worker(forge, "one", ANN)
    assert scene.execute("SELECT state FROM worker") == "draining"
    with pytest.raises(ConflictError, match="worker one is draining already"):
        recovery.drain_worker(forge, "one", ANN)
    recovery.resume_worker(forge, "one", Act("ann"))
    assert scene.execute("SELECT state FROM worker") == "active"
    scene.execute("UPDATE worker SET state = 'gone'")
    with pytest.raises(ConflictError, match="worker one is gone"):
        recovery.resume_worker(forge, "one", Act("ann"))


def test_health_is_cleared_by_hand(scene: Scene, forge: Forge) -> None:
    with pytest.raises(ConflictError, match="there is nothing to clear"):
        recovery.clear_health(forge, "target", "a", "demo", ANN)
    for number in range(2):
        scene.run(1, [lane(f"d{number}", target="d")])
        scene.finish(scene.claim(1), "failed", failure_kind="timeout")
    assert scene.execute("SELECT closed_until FROM health WHERE name = 'd'") is not None
    recovery.clear_health(forge, "target", "d", "demo", ANN)
    assert scene.execute("SELECT closed_until FROM health WHERE name = 'd'") is None
    assert entries(forge)[0] == ("ann", "clear health", "target d", "the host was full")


def test_an_act_and_its_note_are_one_transaction(
    scene: Scene, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(audit, "record", fail)
    with pytest.raises(OSError, match="full"):
        recovery.cancel_lane(forge, QUEUED, ANN)
    assert state(scene, QUEUED) == "queued"


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\nb", "\x1b[31m"])
def test_a_token_has_a_name_that_can_be_shown(forge: Forge, name: str) -> None:
    with pytest.raises(InvalidError, match="a token's name"):
        recovery.add_token(forge, name, "read", "ann")
    with pytest.raises(InvalidError, match="no role"):
        recovery.add_token(forge, "ann", "root", "ann")
