"""The database: transactions that begin the right way, and its clock.

Times are seconds since the epoch, as floating point. Statements take the time from the database's
own clock, so that service and workers on several machines agree; a test passes its own as `now`.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy import text as sql
from sqlalchemy.exc import SQLAlchemyError as DatabaseError

from pika_git.persistence.wakes import RING, ring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

__all__ = ["Connection", "Database", "DatabaseError", "open_database"]

BUSY_SECS = 10.0
"""How long a writer waits for another. Transactions are short: past that, something is stuck."""

_SQLITE_NOW = "SELECT (julianday('now') - 2440587.5) * 86400.0"
"""`unixepoch('subsec')` is NULL before SQLite 3.42, without an error."""


@dataclass(frozen=True)
class Database:
    """One database of the forge."""

    engine: Engine
    wakes: Path | None = None
    """The directory of the sockets that hear of a commit with a wake."""
    now: float | None = None
    """The time, for tests; the database's clock if None."""
    _writing: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of all tables."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, alone among writers from its first statement on.

        SQLite ends a transaction at once that has read before it writes and was overtaken: no
        waiting helps. So it is a writer from its beginning.
        """
        with self._writing, self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.info.pop(RING, None)
                connection.rollback()
                raise
            connection.commit()
            is_wake = connection.info.pop(RING, False)
        if is_wake and self.wakes is not None:
            ring(self.wakes)

    def clock(self, connection: Connection) -> float:
        """The time of this transaction."""
        if self.now is not None:
            return self.now
        return float(connection.execute(sql(_SQLITE_NOW)).scalar_one())


def open_database(path: Path, wakes: Path | None = None, now: float | None = None) -> Database:
    """Open a SQLite database; its schema is `pika_git.persistence.migrate`'s."""
    engine = create_engine(
        f"sqlite:///{path}", connect_args={"timeout": BUSY_SECS, "check_same_thread": False}
    )
    event.listen(engine, "connect", _configure)
    return Database(engine, wakes, now)


def _configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's connection
    connection.isolation_level = None  # transactions begin where we say so
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
