"""Bringing a database to this version's schema.

A database that is current costs one query; alembic is imported only for one that isn't. Service
and workers may all try at once: one of them migrates, under a lock, and the others wait for it. A
database that a later version has migrated is refused, and nothing in it is touched.
"""

from __future__ import annotations

import fcntl
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pika_git.persistence.database import DatabaseError, open_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pika_git.data import DataDir
    from pika_git.persistence.database import Database

REVISIONS = ("0001",)
"""Those in `migrations/versions`, the oldest first."""


def open_current(data: DataDir, now: float | None = None) -> Database:
    """Open the forge's database, migrated if it has to be."""
    upgrade(data.database)
    return open_database(data.database, data.wakes, now)


def upgrade(path: Path) -> None:
    """Bring the database at `path` to this version's schema; a missing one is made."""
    if _is_current(path):
        return
    with _locked(path):
        if not _is_current(path):
            _migrate(path)


def _is_current(path: Path) -> bool:
    """Whether the schema is this version's; an error if it is of a later one."""
    if not path.exists():
        return False
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return False
        raise DatabaseError(f"could not read {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise DatabaseError(f"{path} is no database of the forge: {error}") from error
    if row is not None and row[0] not in REVISIONS:
        raise DatabaseError(
            f"{path} has schema {row[0]}, which is later than this version's {REVISIONS[-1]}",
            "start the newer version of pika-git that it was made by",
        )
    return row is not None and row[0] == REVISIONS[-1]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        with path.with_name(path.name + ".migrating").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise DatabaseError(
            f"could not migrate {path}: {error}", "the forge's directory must be writable"
        ) from error


def _migrate(path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    path.touch(mode=0o600)
    database = open_database(path, foreign_keys=False)  # a table made anew drops the one it was
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise DatabaseError(f"a row of {broken[0]} names a row of {broken[2]} that is missing")
    database.engine.dispose()
