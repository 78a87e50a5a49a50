from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pika_git.data import DataDir
from pika_git.persistence import migrate
from pika_git.persistence.database import Database, DatabaseError, open_database
from pika_git.persistence.schema import METADATA


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "data").make()


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def statements(database: Database) -> set[str]:
    """What makes the tables and indexes of a database, but the migrations' own."""
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name != 'alembic_version'"
    with database.read() as connection:
        found = connection.exec_driver_sql(query).scalars().all()
    return {" ".join(statement.split()) for statement in found}


def test_the_migrations_together_make_the_schema(data: DataDir, tmp_path: Path) -> None:
    plain = open_database(tmp_path / "plain.db")
    (tmp_path / "plain.db").touch()
    METADATA.create_all(plain.engine)
    assert statements(migrate.open_current(data)) == statements(plain)
    assert data.database.stat().st_mode & 0o077 == 0


def test_each_step_is_named_in_order() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    folder = Path(migrate.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    steps = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(steps)) == migrate.REVISIONS


def test_a_current_database_is_opened_without_alembic(data: DataDir) -> None:
    migrate.upgrade(data.database)
    script = (
        "import sys; from pathlib import Path; from pika_git.persistence import migrate;"
        "migrate.upgrade(Path(sys.argv[1])); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(data.database)], check=True, timeout=60)


def test_a_database_of_a_later_schema_is_refused_and_left_alone(data: DataDir) -> None:
    migrate.upgrade(data.database)
    execute(data.database, "UPDATE alembic_version SET version_num = '0999'")
    before = data.database.read_bytes()
    with pytest.raises(DatabaseError, match="has schema 0999, which is later") as refused:
        migrate.open_current(data)
    assert refused.value.hint == "start the newer version of pika-git that it was made by"
    assert data.database.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(data: DataDir) -> None:
    data.database.write_text("no database " * 100)
    with pytest.raises(DatabaseError, match="is no database of the forge"):
        migrate.open_current(data)


def test_several_that_begin_at_once_migrate_once(data: DataDir) -> None:
    script = (
        "import sys; from pathlib import Path; from pika_git.persistence import migrate;"
        "migrate.upgrade(Path(sys.argv[1]))"
    )
    argv = [sys.executable, "-c", script, str(data.database)]
    processes = [subprocess.Popen(argv, stderr=subprocess.PIPE) for _ in range(4)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert errors == [b""] * 4
    with migrate.open_current(data).read() as connection:
        versions = connection.exec_driver_sql("SELECT version_num FROM alembic_version").all()
    assert [tuple(row) for row in versions] == [(migrate.REVISIONS[-1],)]
