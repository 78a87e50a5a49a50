"""Each page with each single value damaged: it is shown, and only what is damaged is missing."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from forge_scenes import PATHS, work
from pika_git.persistence.schema import METADATA

if TYPE_CHECKING:
    from forge_scenes import Scene
    from served import Caller

TABLES = [
    table.name for table in METADATA.sorted_tables if table.name not in {"token", "session", "wake"}
]
"""Those that pages read; who asks is another matter."""
DAMAGES = ("{", -9e99, b"\xff\xfe")
RECORDS = ("", "{", "[]", "null", '{"status": 7, "jobs": [1, {"phases": 3, "id": null}]}', "\x00")


SOME_PATHS = [path for path in PATHS if path not in {"/lanes/2", "/lanes/3"}]


def columns_to_damage(table: str) -> list[str]:
    columns = METADATA.tables[table].columns
    keys = {key.parent.name for column in columns for key in column.foreign_keys}
    return [column.name for column in columns if not column.primary_key and column.name not in keys]


@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_row_leaves_every_page_standing(scene: Scene, admin: Caller, table: str) -> None:
    work(scene)
    scene.execute("INSERT INTO health (kind, name, updated_at) VALUES ('host', 'oak', 1)")
    scene.execute("INSERT INTO health_event (health_id, at, what) VALUES (1, 1, 'failure')")
    columns = columns_to_damage(table)
    damages = [({column}, "{") for column in columns] + [(set(columns), each) for each in DAMAGES]
    with scene.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        for damaged, value in damages:
            names = ", ".join(columns)
            first = f"(SELECT min(rowid) FROM {table})"  # noqa: S608 - names of tables
            query = f"SELECT {names} FROM {table} WHERE rowid = {first}"  # noqa: S608 - likewise
            kept = connection.exec_driver_sql(query).one_or_none()
            if kept is None:
                return
            now = tuple(
                value if column in damaged else was
                for column, was in zip(columns, kept, strict=True)
            )
            change = f"UPDATE {table} SET ({names}) = ({', '.join('?' * len(columns))})"  # noqa: S608 - likewise
            change += f" WHERE rowid = {first}"
            connection.exec_driver_sql(change, now)
            for path in SOME_PATHS:
                answer = admin.get(path)
                known = answer.status_code == 200 or path.startswith("/lanes/1/log")
                assert known, (damaged, value, path, answer.text[-300:])
            connection.exec_driver_sql(change, tuple(kept))


def test_a_lane_of_an_unknown_state_says_so_and_the_others_are_shown(
    scene: Scene, admin: Caller
) -> None:
    work(scene)
    with scene.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        connection.exec_driver_sql("UPDATE lane SET state = 'odd' WHERE id = 2")
    page = admin.get("/runs/1").text
    assert "its state is damaged: &#39;odd&#39;" in page
    assert page.count('class="lane ') == 6
    assert "exited with 1" in page


@pytest.mark.parametrize("record", RECORDS)
def test_a_damaged_record_leaves_its_lane_and_the_others_shown(
    scene: Scene, admin: Caller, record: str
) -> None:
    work(scene)
    for path in scene.data.root.glob("repos/*/state/runs/*/run.json"):
        before = path.read_bytes()
        path.write_text(record)
        for each in PATHS:
            answer = admin.get(each)
            known = answer.status_code == 200 or each.startswith("/lanes/1/log")
            assert known, (record, each, answer.text[-300:])
        path.write_bytes(before)


def test_a_run_directory_that_is_gone_is_said_in_words(scene: Scene, admin: Caller) -> None:
    work(scene)
    shutil.rmtree(scene.data.root / "repos")
    page = admin.get("/lanes/1").text
    assert "the record of run" in page
    assert "exited with 1" in page
    assert admin.get("/runs/1").status_code == 200


def test_a_run_json_that_is_damaged_is_said_in_words(scene: Scene, admin: Caller) -> None:
    work(scene)
    for path in scene.data.root.glob("repos/*/state/runs/*/run.json"):
        path.write_text("{")
    page = admin.get("/lanes/1").text
    assert "can&#39;t be shown" in page
    assert "exited with 1" in page
