"""A row that is damaged ends its own lane, or says so; all others go on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from forge_database import Forge, lane
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
        "UPDATE worker SET labels = '{' WHERE id = 2",
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
