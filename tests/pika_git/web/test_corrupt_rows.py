from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import JSON, Double, Integer, text

from forge_scenes import Scene, lane
from pika_git.persistence import schema

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

    from pika_git.forge_service.forge import Forge
    from served import Served

PATHS = (
    *("repos", "repos/1", "feed", "branches?repo=demo", "branches/1", "branches/1/logs"),
    *("runs/1", "lanes/1", "lanes/1/log", "lanes/1/events"),
    *("queue", "workers", "health", "nightly", "audit", "tokens", "whoami"),
)
TABLES = (
    *(schema.REPO, schema.BRANCH, schema.CI_RUN, schema.LANE, schema.ATTEMPT, schema.REASON),
    *(schema.WORKER, schema.LEASE, schema.HEALTH, schema.HEALTH_EVENT, schema.NIGHTLY_SLOT),
    *(schema.AUDIT, schema.TOKEN, schema.SETTING),
)


def junk(column: Column[Any]) -> tuple[object, ...]:
    """Values that a column never has, of types that SQLite keeps all the same."""
    if isinstance(column.type, JSON):
        return ("[1, {}]", b"\xff")
    if isinstance(column.type, Integer | Double):
        return ("junk", 9e999)
    return (b"\xff",)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_with_any_value_damaged_every_answer_is_given(
    served: Served, scene: Scene, forge: Forge, table: Table
) -> None:
    worker, branch = scene.worker(slots=9), scene.branch(scene.repo(), "main")
    scene.run(branch, [lane("a", group_name="one"), lane("b", group_name="one")])
    claim = scene.claim(worker)
    scene.record(claim, "passed", b"said\n", begun=scene.now, secs=2)
    scene.execute(
        "INSERT INTO nightly_slot (repo_id, slot_at, state, run_id) VALUES (1, 0, 'run', 1)"
    )
    scene.execute("INSERT INTO setting (name, value) VALUES ('paused', 'false')")
    scene.execute(
        "INSERT INTO health (kind, name, closed_until, updated_at) VALUES ('host', 'h', 1, 1)"
    )
    scene.execute("INSERT INTO health_event (health_id, at, what) VALUES (1, 1, 'closed')")
    caller = served.caller("admin")
    caller.post("/api/v1/tokens", name="ben", role="read")
    failed = []
    for column in table.columns:
        if column.primary_key or column.foreign_keys:
            continue
        for value in junk(column):
            kept = change(forge, table, column, value)
            asked = {path: caller.get(f"/api/v1/{path}").status_code for path in PATHS}
            failed += [(column.name, value, path) for path, got in asked.items() if got >= 500]
            change(forge, table, column, kept)
    assert failed == []


def change(forge: Forge, table: Table, column: Column[Any], value: object) -> object:
    """Give the newest row's column a value, whatever its type; what it had."""
    newest = f"(SELECT max(rowid) FROM {table.name})"  # noqa: S608 - the schema's names
    query = f"SELECT {column.name} FROM {table.name} WHERE rowid = {newest}"  # noqa: S608
    update = f"UPDATE {table.name} SET {column.name} = :to WHERE rowid = {newest}"  # noqa: S608
    with forge.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        kept: object = connection.exec_driver_sql(query).scalar_one()
        connection.execute(text(update), {"to": value})
        connection.commit()
    return kept
