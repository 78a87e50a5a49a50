from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from forge_database import Forge, lane
from pika_git.data import DataDir
from pika_git.persistence import database as databases
from pika_git.persistence import migrate, queue
from pika_git.persistence.database import DatabaseError, open_database

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge.in_directory(tmp_path)


def file(forge: Forge) -> Path:
    assert forge.database.path is not None
    return forge.database.path


def test_a_writer_waits_for_another_program(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "BUSY_SECS", 5.0)
    with closing(sqlite3.connect(file(forge), check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, other.rollback)
        timer.start()
        forge.push()
        timer.join()
    assert len(forge.all("SELECT * FROM lane")) == 1


def test_a_database_that_stays_locked_is_said_to_be(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "BUSY_SECS", 0.05)
    impatient = open_database(file(forge))
    with closing(sqlite3.connect(file(forge))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseError, match="is locked by another program") as error:
            queue.sweep(impatient)
        assert error.value.hint is not None
        with impatient.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM lane").scalar() == 0
        other.rollback()
    queue.sweep(impatient)


def test_a_database_that_is_gone_is_said_to_be_and_is_not_made_anew(forge: Forge) -> None:
    forge.push()
    kept = file(forge).with_name("kept.db")
    file(forge).rename(kept)
    for _ in range(2):
        with pytest.raises(DatabaseError, match="is gone"):
            forge.claim(1)
    assert not file(forge).exists()
    kept.rename(file(forge))
    assert forge.claim(forge.worker()) is not None


def test_a_database_that_can_not_be_written_is_said_to_be(forge: Forge) -> None:
    with forge.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.rollback()
    with pytest.raises(DatabaseError, match="can't be written"):
        forge.push()


def test_a_damaged_database_is_said_to_be(forge: Forge) -> None:
    forge.database.engine.dispose()
    with file(forge).open("r+b") as written:
        written.seek(100)
        written.write(b"\xff" * 40_000)
    with pytest.raises(DatabaseError, match=r"is damaged|is no database"):
        queue.sweep(open_database(file(forge)))


def test_what_the_driver_says_otherwise_is_said_as_well(forge: Forge) -> None:
    with pytest.raises(DatabaseError, match="can't be used: no such table"):
        forge.one("SELECT * FROM absent")


def test_a_full_disk_is_said_to_be_and_the_queue_goes_on_when_there_is_room(forge: Forge) -> None:
    with forge.database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.rollback()
    with pytest.raises(DatabaseError, match="the disk is full"):
        forge.push(*(lane(str(n)) for n in range(200)))
    with forge.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        connection.rollback()
    forge.push()
    assert forge.claim(forge.worker()) is not None


def test_the_clock_is_the_databases(tmp_path: Path) -> None:
    database = migrate.open_current(DataDir(tmp_path).make())
    with database.read() as connection:
        first = database.clock(connection)
        asked = connection.exec_driver_sql("SELECT strftime('%s', 'now')").scalar()
    assert abs(first - float(str(asked))) < 2
