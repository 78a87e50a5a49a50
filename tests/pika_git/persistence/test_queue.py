from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from forge_database import (
    CANCELLED,
    FAILED,
    INFRASTRUCTURE,
    MAIN,
    PASSED,
    SKIPPED,
    Forge,
    lane,
)
from pika_git.persistence import queue, workers
from pika_git.persistence.queue import LaneClass, RefusedError
from pika_git.persistence.queue.model import AGE_BOUND_SECS, LEASE_SECS, LOST_SECS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge.in_directory(tmp_path)


def taken(forge: Forge, worker: int, how_many: int) -> list[str]:
    """The names of the lanes that a worker gets one after another, each of which passes."""
    names = []
    for _ in range(how_many):
        claim = forge.take(worker)
        names.append(f"{claim.ref.removeprefix('refs/heads/')}/{claim.name}")
        forge.pass_time(1)
        forge.finish(claim)
    return names


def test_a_claim_has_all_that_a_worker_needs(forge: Forge) -> None:
    (pushed,) = forge.push(lane("check", group="linux"), head="abc")
    worker = forge.worker()
    claim = forge.take(worker)
    assert (claim.lane_id, claim.ref, claim.head, claim.name) == (pushed, MAIN, "abc", "check")
    assert (claim.token, claim.attempt_number, claim.adopted) == (1, 1, False)
    (attempt,) = forge.all("SELECT * FROM attempt")
    assert attempt.pikaci_run_id == claim.pikaci_run_id
    assert re.fullmatch(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}", claim.pikaci_run_id)
    (lease,) = forge.all("SELECT * FROM lease")
    assert (lease.token, lease.expires_at) == (1, forge.now + LEASE_SECS)


def test_by_hand_goes_before_branch_before_nightly(forge: Forge) -> None:
    forge.push(lane("nightly", klass=LaneClass.NIGHTLY))
    forge.push(lane("branch"))
    forge.push(lane("manual", klass=LaneClass.MANUAL))
    assert taken(forge, forge.worker(), 3) == ["main/manual", "main/branch", "main/nightly"]


def test_refs_take_turns_however_many_lanes_each_has(forge: Forge) -> None:
    forge.push(lane("1"), lane("2"), lane("3"), ref="refs/heads/a")
    forge.push(lane("1"), lane("2"), ref="refs/heads/b")
    worker = forge.worker()
    assert taken(forge, worker, 3) == ["a/1", "b/1", "a/2"]
    forge.push(lane("1"), ref="refs/heads/c")
    assert taken(forge, worker, 3) == ["c/1", "b/2", "a/3"]


def test_a_lane_older_than_the_bound_goes_first(forge: Forge) -> None:
    forge.push(lane("old", klass=LaneClass.NIGHTLY))
    forge.pass_time(AGE_BOUND_SECS + 1)
    forge.push(lane("new", klass=LaneClass.MANUAL))
    assert taken(forge, forge.worker(), 2) == ["main/old", "main/new"]


def test_a_lane_that_is_queued_again_keeps_its_place(forge: Forge) -> None:
    (first,) = forge.push(lane("first"))
    forge.pass_time(1)
    forge.push(lane("second"))
    worker = forge.worker()
    forge.finish(forge.take(worker), FAILED)
    queue.requeue(forge.database, first, "ann", "again")
    assert taken(forge, worker, 2) == ["main/first", "main/second"]
    assert forge.lane(first).enqueued_at == forge.now - 3


def test_a_group_is_first_come_first_served_over_all_pushes(forge: Forge) -> None:
    forge.push(lane("nightly", group="g", klass=LaneClass.NIGHTLY), ref="refs/heads/a")
    forge.pass_time(1)
    forge.push(lane("branch", group="g"), ref="refs/heads/b")
    forge.pass_time(1)
    forge.push(lane("manual", group="g", klass=LaneClass.MANUAL), ref="refs/heads/c")
    assert taken(forge, forge.worker(slots=3), 3) == ["a/nightly", "b/branch", "c/manual"]


def test_only_lanes_that_may_go_stand_in_a_groups_line(forge: Forge) -> None:
    forge.push(
        lane("later", group="g", not_before=forge.now + 100),
        lane("nowhere", group="g", labels=("mac",)),
    )
    forge.pass_time(1)
    (free,) = forge.push(lane("free", group="g"))
    assert forge.take(forge.worker()).lane_id == free


def test_a_group_has_one_holder_until_its_run_is_gone(forge: Forge) -> None:
    first, second = forge.push(lane("first", group="g"), lane("second", group="g"))
    worker = forge.worker(slots=2)
    claim = forge.take(worker)
    queue.cancel_lane(forge.database, first, "ann", "enough")
    assert forge.state(first) == "cancelling"
    assert forge.claim(worker) is None
    forge.finish(claim, CANCELLED)
    assert forge.take(worker).lane_id == second


def test_groups_of_two_repositories_are_two(forge: Forge) -> None:
    forge.push(lane("a", group="g"), repo="one")
    forge.push(lane("a", group="g"), repo="two")
    worker = forge.worker(slots=2)
    assert forge.take(worker).repo_name == "one"
    assert forge.take(worker).repo_name == "two"


def test_a_lane_says_who_held_its_group_and_for_how_long(forge: Forge) -> None:
    first, second, third = forge.push(*(lane(str(n), group="g") for n in range(3)))
    worker = forge.worker()
    start = forge.now
    for _ in range(2):
        claim = forge.take(worker)
        forge.pass_time(10)
        forge.finish(claim)
    (wait, queued) = forge.waits(third)
    assert (wait.code, wait.since, wait.until) == (
        "blocked_by_concurrency_group",
        start,
        start + 20,
    )
    assert wait.holders == ((first, start, start + 10), (second, start + 10, start + 20))
    assert (queued.code, queued.since, queued.until) == ("queued", start + 20, None)


def test_a_lane_that_no_worker_fits_says_which_label_is_missing(forge: Forge) -> None:
    forge.worker("linux", "x86_64-linux", "root")
    (pushed,) = forge.push(lane("mac", labels=("root", "aarch64-darwin")))
    (wait,) = forge.waits(pushed)
    assert (wait.code, wait.detail) == ("no_host_fits", {"missing": ["aarch64-darwin"]})
    forge.worker("mac", "aarch64-darwin", "root")
    assert forge.reason(pushed) == "queued"
    workers.leave(forge.database, "mac")
    assert forge.reason(pushed) == "no_host_fits"


def test_a_lane_without_any_worker_says_so(forge: Forge) -> None:
    (pushed,) = forge.push()
    assert forge.waits(pushed)[0].detail == {"missing": ["a worker"]}


def test_a_lane_waits_for_capacity_of_the_workers_that_fit(forge: Forge) -> None:
    forge.push(lane("1"), lane("2"))
    worker = forge.worker("busy")
    claim = forge.take(worker)
    forge.pass_time(2)
    (late,) = forge.push(lane("3"))
    assert forge.waits(late)[-1].detail == {"workers": ["busy"]}
    forge.sweep()
    second = forge.one("SELECT id FROM lane WHERE name = '2'")[0]
    assert forge.reason(second) == "waiting_for_capacity"
    forge.finish(claim)
    assert forge.take(worker).lane_id == second


def test_a_drained_worker_drains_until_it_is_resumed(forge: Forge) -> None:
    def state() -> str:
        return str(forge.one("SELECT state FROM worker")[0])

    worker = forge.worker("one")
    with forge.database.write() as connection:
        workers.set_state(connection, "one", "draining", forge.now)
    workers.leave(forge.database, "one")
    assert state() == "gone"
    queue.renew(forge.database, worker, {})
    assert state() == "draining"
    workers.leave(forge.database, "one")
    assert forge.worker("one") == worker
    assert state() == "draining"
    with forge.database.write() as connection:
        workers.set_state(connection, "one", "active", forge.now)
    workers.leave(forge.database, "one")
    forge.worker("one")
    assert state() == "active"


def test_draining_and_pausing_are_reasons(forge: Forge) -> None:
    worker = forge.worker("one")
    (pushed,) = forge.push()
    with forge.database.write() as connection:
        workers.set_state(connection, "one", "draining", forge.now)
    assert forge.waits(pushed)[-1].code == "draining"
    assert forge.claim(worker) is None
    with forge.database.write() as connection:
        queue.pause(connection, "the disk is replaced", forge.now)
    assert forge.waits(pushed)[-1].code == "paused"
    assert forge.waits(pushed)[-1].detail["why"] == "the disk is replaced"
    with forge.database.write() as connection:
        workers.set_state(connection, "one", "active", forge.now)
    assert forge.claim(worker) is None
    with forge.database.write() as connection:
        queue.resume(connection, forge.now)
    assert forge.take(worker).lane_id == pushed


def test_a_lane_goes_when_its_time_comes_without_a_sweep(forge: Forge) -> None:
    worker = forge.worker()
    (pushed,) = forge.push(lane(not_before=forge.now + 30))
    assert forge.reason(pushed) == "not_before"
    assert queue.next_change(forge.database) == 30
    assert forge.claim(worker) is None
    forge.pass_time(30)
    assert forge.take(worker).lane_id == pushed
    assert [wait.code for wait in forge.waits(pushed)] == ["not_before"]


def test_a_late_result_is_refused_and_kept(forge: Forge) -> None:
    (pushed,) = forge.push()
    lost = forge.take(forge.worker("one"))
    forge.pass_time(LEASE_SECS)
    (claim,) = queue.adoptable(forge.database, forge.worker("two"))
    assert (claim.pikaci_run_id, claim.attempt_id) == (lost.pikaci_run_id, lost.attempt_id)
    assert not forge.finish(lost, FAILED)
    assert forge.state(pushed) == "running"
    assert "came late" in forge.one("SELECT refused FROM attempt")[0]
    assert forge.counters() == {"refused_results": 1}
    assert forge.finish(claim)
    assert forge.state(pushed) == "success"


def test_the_same_result_twice_counts_once(forge: Forge) -> None:
    forge.push()
    claim = forge.take(forge.worker())
    assert forge.finish(claim)
    assert forge.finish(claim)
    assert not forge.finish(claim, FAILED)
    assert forge.one("SELECT state FROM attempt")[0] == "success"


def test_a_worker_that_begins_again_has_its_lanes_at_once(forge: Forge) -> None:
    forge.push()
    claim = forge.take(forge.worker("one"))
    assert queue.adoptable(forge.database, forge.worker("two")) == []
    worker = forge.worker("one")
    (adopted,) = queue.adoptable(forge.database, worker)
    assert adopted.adopted
    assert (adopted.pikaci_run_id, adopted.token) == (claim.pikaci_run_id, claim.token + 1)
    renewal = queue.renew(forge.database, worker, {adopted.lane_id: (claim.token, 0)})
    assert renewal.lost == {adopted.lane_id}


def test_another_host_takes_over_nothing(forge: Forge) -> None:
    forge.push()
    forge.take(forge.worker("one", host="here"))
    forge.pass_time(LEASE_SECS)
    assert queue.adoptable(forge.database, forge.worker("two", host="there")) == []


def test_a_run_that_never_started_is_queued_again_without_using_a_retry(forge: Forge) -> None:
    (pushed,) = forge.push(lane(group="g"))
    forge.take(forge.worker())
    worker = forge.worker()
    (adopted,) = queue.adoptable(forge.database, worker)
    assert queue.never_started(forge.database, pushed, adopted.token)
    assert forge.reason(pushed) == "stale_recovered"
    assert forge.waits(pushed)[-1].detail == {"why": "its run never started"}
    again = forge.take(worker)
    assert (again.attempt_number, again.lane_id) == (2, pushed)
    assert forge.lane(pushed).retries_used == 0
    states = forge.all("SELECT state FROM attempt ORDER BY number")
    assert [row[0] for row in states] == ["lost", "running"]


def test_renewing_tells_what_is_lost_and_what_is_to_be_cancelled(forge: Forge) -> None:
    first, second = forge.push(lane("1"), lane("2"))
    worker = forge.worker(slots=2)
    claims = [forge.take(worker), forge.take(worker)]
    queue.cancel_lane(forge.database, first, "ann", "enough")
    forge.pass_time(50)
    asked = {claim.lane_id: (claim.token, 7) for claim in claims}
    renewal = queue.renew(forge.database, worker, {**asked, 99: (1, 1)})
    assert renewal == queue.Renewal(lost=frozenset({99}), cancelling=frozenset({first}))
    lease = forge.one("SELECT * FROM lease WHERE lane_id = :id", id=second)
    assert (lease.expires_at, lease.progress) == (forge.now + LEASE_SECS, 7)
    assert lease.progress_at == forge.now
    forge.pass_time(50)
    queue.renew(forge.database, worker, asked)
    assert forge.one("SELECT progress_at FROM lease WHERE lane_id = 2")[0] == forge.now - 50


def test_a_retry_of_infrastructure_comes_from_the_budget_of_lane_and_head(forge: Forge) -> None:
    (pushed,) = forge.push(head="abc")
    worker = forge.worker()
    for used in (1, 2):
        forge.finish(forge.take(worker), INFRASTRUCTURE)
        assert forge.state(pushed) == "queued"
        with forge.database.read() as connection:
            budget = queue.retries(connection, pushed)
        assert budget == queue.Budget(used, 2, used, 10)
        forge.pass_time(120)
    forge.finish(forge.take(worker), INFRASTRUCTURE)
    row = forge.lane(pushed)
    assert (row.state, row.failure_kind) == ("failed", "infrastructure")
    assert len(forge.all("SELECT * FROM attempt")) == 3
    forge.change("UPDATE lane SET retries_used = 10")
    (late,) = forge.push(lane("other"), head="abc")
    forge.pass_time(3600)
    forge.finish(forge.take(worker), INFRASTRUCTURE)
    assert forge.state(late) == "failed"


@pytest.mark.parametrize("ending", [FAILED, PASSED, SKIPPED], ids=lambda ending: ending.state)
def test_a_verdict_is_not_retried(forge: Forge, ending: queue.Ending) -> None:
    (pushed,) = forge.push()
    forge.finish(forge.take(forge.worker()), ending)
    assert forge.state(pushed) == ending.state


def test_a_run_that_was_cancelled_by_nobody_is_infrastructure(forge: Forge) -> None:
    (pushed,) = forge.push()
    worker = forge.worker()
    for _ in range(3):
        forge.finish(forge.take(worker), CANCELLED)
        forge.pass_time(120)
    row = forge.lane(pushed)
    assert (row.state, row.failure_kind) == ("failed", "infrastructure")


def test_cancelling_says_by_whom_and_why(forge: Forge) -> None:
    waits, runs = forge.push(lane("1"), lane("2"))
    claim = forge.take(forge.worker())
    assert claim.lane_id == waits
    for each in (waits, runs):
        queue.cancel_lane(forge.database, each, "ann", "not needed")
    forge.finish(claim, CANCELLED)
    for each in (waits, runs):
        row = forge.lane(each)
        assert (row.state, row.cancel_by, row.cancel_reason) == ("cancelled", "ann", "not needed")
    assert forge.one("SELECT state FROM ci_run")[0] == "cancelled"
    with pytest.raises(RefusedError, match="is over: cancelled"):
        queue.cancel_lane(forge.database, waits, "ann", "once more")


def test_a_verdict_that_came_before_the_cancel_counts(forge: Forge) -> None:
    (pushed,) = forge.push()
    claim = forge.take(forge.worker())
    queue.cancel_lane(forge.database, pushed, "ann", "too late")
    forge.finish(claim, PASSED)
    assert forge.state(pushed) == "success"


def test_failing_a_running_lane_holds_its_group_until_the_run_is_gone(forge: Forge) -> None:
    first, second = forge.push(lane("1", group="g"), lane("2", group="g"))
    worker = forge.worker(slots=2)
    claim = forge.take(worker)
    queue.fail_lane(forge.database, first, "ann", "it hangs")
    assert forge.claim(worker) is None
    assert queue.renew(forge.database, worker, {first: (claim.token, 0)}).cancelling == {first}
    forge.finish(claim, CANCELLED)
    row = forge.lane(first)
    assert (row.state, row.failure_kind) == ("failed", "infrastructure")
    assert "failed by ann: it hangs" in row.cause
    assert forge.take(worker).lane_id == second


def test_a_lane_of_a_worker_that_stays_away_is_given_up(forge: Forge) -> None:
    lost, held = forge.push(lane("1"), lane("2", group="g"))
    away = forge.worker("away", slots=2)
    claims = [forge.take(away), forge.take(away)]
    forge.pass_time(LEASE_SECS + LOST_SECS + 1)
    forge.sweep()
    assert forge.reason(lost) == "no_host_fits"
    assert forge.state(held) == "running"
    assert not forge.finish(claims[0])
    queue.requeue(forge.database, held, "ann", "the machine is gone")
    assert forge.state(held) == "queued"
    back = forge.worker("away", slots=2)
    assert {run_id for _, run_id in queue.abandoned(forge.database, back)} == {
        claim.pikaci_run_id for claim in claims
    }


def test_a_run_that_is_being_planned_is_cancelled_with_who_and_why(forge: Forge) -> None:
    run = forge.run(MAIN)
    assert queue.cancel_run(forge.database, run, "ann", "enough") == 0
    assert tuple(forge.one("SELECT state, message FROM ci_run")) == (
        "cancelled",
        "cancelled by ann: enough",
    )
    with pytest.raises(RefusedError, match=f"run {run} is over"):
        queue.cancel_run(forge.database, run, "ann", "enough")


def test_a_cancel_reaches_its_end_though_the_worker_stays_away(forge: Forge) -> None:
    free, held = forge.push(lane("1"), lane("2", group="g"))
    away = forge.worker("away", slots=2)
    forge.take(away)
    forge.take(away)
    run = forge.one("SELECT id FROM ci_run")[0]
    assert queue.cancel_run(forge.database, run, "ann", "enough") == 2
    with pytest.raises(RefusedError, match="is being cancelled"):
        queue.cancel_lane(forge.database, held, "ann", "enough")
    forge.pass_time(LEASE_SECS + LOST_SECS + 1)
    forge.sweep()
    assert (forge.state(free), forge.state(held)) == ("cancelled", "cancelling")
    queue.cancel_lane(forge.database, held, "ann", "its machine burnt down")
    assert forge.state(held) == "cancelled"


def test_a_newer_push_supersedes_older_ones_of_its_ref_and_kind(forge: Forge) -> None:
    worker = forge.worker()
    old = forge.push(lane("1"), lane("2"))
    nightly = forge.enqueue(forge.run(kind="nightly"), lane("n", klass=LaneClass.NIGHTLY))
    manual = forge.enqueue(forge.run(kind="manual"), lane("m", klass=LaneClass.MANUAL))
    forge.finish(forge.take(worker))
    running = forge.take(worker)
    assert running.lane_id == old[0]
    elsewhere = forge.push(ref="refs/heads/other")
    run = forge.run()
    with forge.database.write() as connection:
        queue.supersede(connection, run, forge.now)
    states = [forge.state(each) for each in (*old, *nightly, *elsewhere, *manual)]
    assert states == ["running", "cancelled", "queued", "queued", "success"]
    row = forge.lane(old[1])
    assert (row.cancel_by, row.cancel_reason) == ("forge", f"superseded by run {run}")
    forge.finish(running, INFRASTRUCTURE)
    assert forge.state(old[0]) == "cancelled"
    with pytest.raises(RefusedError, match=f"was superseded by run {run}"):
        queue.requeue(forge.database, old[1], "ann", "all the same")


def test_a_superseded_lane_whose_worker_is_gone_does_not_run_again(forge: Forge) -> None:
    (old,) = forge.push(lane(group="g"))
    claim = forge.take(forge.worker())
    run = forge.run()
    with forge.database.write() as connection:
        queue.supersede(connection, run, forge.now)
    forge.pass_time(LEASE_SECS + 1)
    assert queue.recover_run(forge.database, claim.run_id, "ann", "its worker is gone") == 1
    row = forge.lane(old)
    assert (row.state, row.cancel_by) == ("cancelled", "forge")
    assert row.cancel_reason == f"superseded by run {run}"
    assert not forge.finish(claim)


def test_a_repository_may_cancel_what_runs_when_it_is_superseded(forge: Forge) -> None:
    forge.repo(cancel_superseded=True)
    (old,) = forge.push()
    forge.take(forge.worker())
    run = forge.run()
    with forge.database.write() as connection:
        queue.supersede(connection, run, forge.now)
    assert forge.state(old) == "cancelling"


def test_a_rerun_is_another_run_that_says_of_what(forge: Forge) -> None:
    first, second = forge.push(lane("1", labels=("root",), group="g"), lane("2"), head="abc")
    worker = forge.worker("one", "root")
    with pytest.raises(RefusedError, match="is not over: queued"):
        queue.rerun_lane(forge.database, first, "ann", "once more")
    for _ in range(2):
        forge.finish(forge.take(worker), FAILED)
    run = queue.rerun_run(forge.database, forge.lane(first).run_id, "ann", "once more")
    row = forge.one("SELECT * FROM ci_run WHERE id = :run", run=run)
    assert (row.kind, row.head, row.created_by, row.rerun_of) == ("manual", "abc", "ann", 1)
    lanes = forge.all("SELECT * FROM lane WHERE run_id = :run ORDER BY id", run=run)
    assert [each.rerun_of for each in lanes] == [first, second]
    assert [each.group_name for each in lanes] == ["g", None]
    assert forge.take(worker).run_id == run


def test_a_queued_lane_and_one_that_passed_can_not_be_queued_again(forge: Forge) -> None:
    (pushed,) = forge.push()
    with pytest.raises(RefusedError, match="is queued"):
        queue.requeue(forge.database, pushed, "ann", "hurry")
    claim = forge.take(forge.worker())
    with pytest.raises(RefusedError, match="is running"):
        queue.requeue(forge.database, pushed, "ann", "hurry")
    forge.finish(claim)
    with pytest.raises(RefusedError, match="is success") as refused:
        queue.requeue(forge.database, pushed, "ann", "hurry")
    assert refused.value.hint == "rerun it instead"


def test_recovering_a_run_takes_lanes_without_a_worker_for_gone(forge: Forge) -> None:
    (pushed,) = forge.push(lane(group="g"))
    forge.take(forge.worker())
    run = forge.lane(pushed).run_id
    with pytest.raises(RefusedError, match="has nothing to recover"):
        queue.recover_run(forge.database, run, "ann", "it hangs")
    forge.pass_time(LEASE_SECS + 1)
    assert queue.recover_run(forge.database, run, "ann", "it hangs") == 1
    assert forge.state(pushed) == "queued"


def test_a_run_whose_planning_failed_is_planned_again(forge: Forge) -> None:
    run = forge.run()
    forge.change("UPDATE ci_run SET state = 'failed', finished_at = 1, message = 'broken'")
    assert queue.recover_run(forge.database, run, "ann", "the builder was full") == 0
    row = forge.one("SELECT * FROM ci_run")
    assert (row.state, row.message, row.finished_at) == ("planning", None, None)


def test_a_worker_takes_no_more_than_its_slots(forge: Forge) -> None:
    forge.push(lane("1"), lane("2"), lane("3"))
    worker = forge.worker(slots=2)
    assert forge.claim(worker)
    assert forge.claim(worker)
    assert forge.claim(worker) is None


def test_a_silent_worker_is_gone_and_back_when_it_is_heard(forge: Forge) -> None:
    worker = forge.worker("one")
    (pushed,) = forge.push()
    forge.pass_time(workers.SILENT_SECS + 1)
    forge.sweep()
    assert forge.reason(pushed) == "no_host_fits"
    queue.renew(forge.database, worker, {})
    assert forge.take(worker).lane_id == pushed


def test_a_sweep_counts_a_transition_that_was_lost(forge: Forge) -> None:
    worker = forge.worker()
    (pushed,) = forge.push()
    forge.sweep()
    assert forge.counters() == {}
    forge.change("UPDATE lane SET ready = 0, reason = 'paused'")
    assert forge.claim(worker) is None
    forge.sweep()
    assert forge.counters() == {"lost_wakes": 1}
    assert forge.take(worker).lane_id == pushed


def test_a_sweep_counts_a_ready_lane_that_a_free_worker_left_alone(forge: Forge) -> None:
    forge.worker()
    forge.push()
    forge.pass_time(6)
    forge.sweep()
    assert forge.counters() == {"lost_wakes": 1}


def test_a_clock_that_is_set_and_a_machine_that_slept_cost_no_lease(forge: Forge) -> None:
    (pushed,) = forge.push()
    claim = forge.take(forge.worker("one"))
    other = forge.worker("two")
    forge.database = replace(forge.database, steady=500.0)
    forge.sweep()
    forge.pass_time(8 * 3600)
    assert queue.adoptable(forge.database, other) == []
    forge.sweep()
    assert forge.lane(pushed).token == claim.token
    assert forge.counters() == {"clock_jumps": 1}
    forge.database = replace(forge.database, steady=561.0)
    forge.pass_time(61)
    assert len(queue.adoptable(forge.database, other)) == 1
