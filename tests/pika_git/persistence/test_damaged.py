"""A row that is damaged ends its own lane, or says so; all others go on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from forge_database import TIMEOUT, Forge, lane
from pika_git.persistence import queue

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge.in_directory(tmp_path)


def damage(forge: Forge, statement: str) -> None:
    """Change a row in a way that no constraint allows."""
    assert forge.database.path is not None
    with closing(sqlite3.connect(forge.database.path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE lane SET state = 'dreaming' WHERE id = 1",
        "UPDATE lane SET enqueued_at = 'yesterday' WHERE id = 1",
        "UPDATE lane SET not_before = 'tomorrow' WHERE id = 1",
        "UPDATE lane SET reason = 'boredom', ready = 0 WHERE id = 1",
        "UPDATE lane SET class = 'first' WHERE id = 1",
        "UPDATE lane SET label_set_id = 99 WHERE id = 1",
        "UPDATE label_set SET labels = '{' WHERE id = 2",
        "UPDATE reason SET detail = '{' WHERE lane_id = 1",
        "DELETE FROM reason WHERE lane_id = 1",
        "UPDATE turn SET lane_id = 99",
        "DELETE FROM turn",
        "UPDATE health SET failing_targets = '{', why = NULL",
        "UPDATE health SET failures = 'x', cool_off_secs = 'x'",
        "UPDATE worker SET labels = '{' WHERE id = 2",
        "UPDATE worker SET labels = 'null' WHERE id = 2",
        "UPDATE worker SET slots = 'x' WHERE id = 2",
        "UPDATE worker SET state = 'dreaming' WHERE id = 2",
        "UPDATE worker SET name = x'ff', host = x'ff', trouble = x'ff' WHERE id = 2",
    ],
)
@pytest.mark.parametrize("group", [None, "g"])
def test_the_other_lanes_go_on(forge: Forge, change: str, group: str | None) -> None:
    worker = forge.worker("one", "linux", slots=9)
    forge.worker("two", host="there")
    forge.push(lane("before"))
    forge.finish(forge.take(worker))
    forge.change("DELETE FROM attempt")
    forge.change("DELETE FROM group_hold")
    forge.change("DELETE FROM reason")
    forge.change("DELETE FROM turn")
    forge.change("DELETE FROM lane")
    forge.push(lane("damaged", group=group, labels=("linux",)))
    others = forge.push(lane("a", group=group), lane("b"), ref="refs/heads/other")
    damage(forge, change)
    for _ in range(4):
        forge.sweep()
        while claim := forge.claim(worker):
            assert forge.finish(claim)
    assert [forge.state(each) for each in others] == ["success", "success"]
    assert forge.waits(1) is not None
    row = forge.lane(1)
    assert row.state in {"success", "failed", "queued"}
    if row.state == "failed":
        assert (row.failure_kind, "its row is damaged" in row.cause) == ("infrastructure", True)
    if row.state == "queued":
        assert row.reason == "no_host_fits"
        queue.cancel_lane(forge.database, 1, "ann", "it is damaged")
    assert forge.one("SELECT count(*) FROM ci_run WHERE finished_at IS NULL")[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE worker SET slots = 'x'",
        "UPDATE worker SET labels = 'null'",
        "UPDATE worker SET state = 'dreaming'",
    ],
)
def test_a_damaged_worker_has_no_slots(forge: Forge, change: str) -> None:
    (pushed,) = forge.push()
    worker = forge.worker()
    damage(forge, change)
    forge.pass_time(2)
    forge.sweep()
    assert forge.claim(worker) is None
    assert forge.state(pushed) == "queued"
    assert forge.worker() == worker
    assert forge.take(worker).lane_id == pushed


def test_damaged_numbers_of_a_target_are_none(forge: Forge) -> None:
    worker = forge.worker()
    for failures in (1, 2):
        forge.push()
        forge.finish(forge.take(worker), TIMEOUT)
        damage(forge, "UPDATE health SET failures = 'x', cool_off_secs = 'x'")
        assert forge.one("SELECT count(*) FROM health_event WHERE what = 'failure'")[0] > failures
    assert forge.all("SELECT name FROM health WHERE state = 'closed'") == []
    forge.change("UPDATE health SET failures = 1")
    forge.push()
    forge.finish(forge.take(worker), TIMEOUT)
    assert forge.one("SELECT cool_off_secs FROM health WHERE state = 'closed'")[0] == 60
    damage(forge, "UPDATE health SET closed_until = 'x'")
    assert queue.next_change(forge.database) is None
    forge.sweep()
    assert forge.all("SELECT name FROM health WHERE state = 'closed'") == []


def test_a_damaged_cause_or_lease_is_passed_over(forge: Forge) -> None:
    (pushed,) = forge.push()
    worker = forge.worker()
    claim = forge.take(worker)
    queue.fail_lane(forge.database, pushed, "ann", "it hangs")
    forge.change("UPDATE lane SET cause = '{'")
    forge.change("DELETE FROM lease")
    assert queue.renew(forge.database, worker, {pushed: (claim.token, 1)}).lost == {pushed}
    forge.pass_time(700)
    forge.sweep()
    assert forge.state(pushed) == "failed"
