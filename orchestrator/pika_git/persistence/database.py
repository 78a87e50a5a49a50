"""The database: transactions that begin the right way, its clock, and what can be wrong with it.

Times are seconds since the epoch, as floating point. Statements take the time from the database's
own clock, so that service and workers on several machines agree; a test passes its own as `now`.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy import text as sql
from sqlalchemy.exc import DatabaseError as DriverError
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

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

_WRONG: dict[str, tuple[str, str | None]] = {
    "BUSY": (
        "is locked by another program for too long",
        "`fuser` tells which; it continues once that has ended",
    ),
    "READONLY": ("can't be written", "give the user that runs pika-git the file and its directory"),
    "CANTOPEN": ("can't be opened", "is its directory there, and may pika-git write to it?"),
    "FULL": ("can't grow: the disk is full", "make room; it continues once there is some"),
    "IOERR": ("can't be read or written: the disk fails", "see the kernel's log"),
    "CORRUPT": ("is damaged", "stop pika-git and restore the file from a backup"),
    "NOTADB": ("is no database", "stop pika-git and restore the file from a backup"),
}
"""By SQLite's error name, without its prefix and suffixes."""


class DatabaseError(Exception):
    """The database can't be used; what it is and what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Database:
    """One database of the forge."""

    engine: Engine
    wakes: Path | None = None
    """The directory of the sockets that hear of a commit with a wake."""
    now: float | None = None
    """The time, for tests; the database's clock if None."""
    path: Path | None = None
    """Its file; None in memory."""
    steady: float | None = None
    """The monotonic clock, for tests; this machine's if None."""
    _writing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _apart: dict[str, float] = field(default_factory=dict, repr=False)
    _local: threading.local = field(default_factory=threading.local, repr=False)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view of all tables."""
        with self._explained(), self.engine.connect() as connection:
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

        Within a thread, one that begins inside another is part of it: what is done and the note of
        who did it are committed together.
        """
        outer: Connection | None = getattr(self._local, "writer", None)
        if outer is not None:
            yield outer
            return
        with self._writing, self._explained(), self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            self._local.writer = connection
            try:
                yield connection
            except BaseException:
                connection.info.pop(RING, None)
                connection.rollback()
                raise
            finally:
                self._local.writer = None
            connection.commit()
            is_wake = connection.info.pop(RING, False)
        if is_wake and self.wakes is not None:
            ring(self.wakes)

    def clock(self, connection: Connection) -> float:
        """The time of this transaction."""
        if self.now is not None:
            return self.now
        return float(connection.execute(sql(_SQLITE_NOW)).scalar_one())

    def has_jumped(self, now: float, most_secs: float) -> bool:
        """Whether the clock was set, or the machine slept, since this was asked before.

        Then `now` and the monotonic clock of this process are further apart than they were.
        """
        if self.now is not None and self.steady is None:
            return False
        apart = now - (time.monotonic() if self.steady is None else self.steady)
        before = self._apart.get("clocks", apart)
        self._apart["clocks"] = apart
        return abs(apart - before) > most_secs

    @contextmanager
    def _explained(self) -> Iterator[None]:
        if self.path is not None and not self.path.exists():
            self.engine.dispose()  # else it would write on into the file that was removed
            raise DatabaseError(f"{self.path} is gone", "restore it, then start pika-git again")
        try:
            yield
        except (IntegrityError, ProgrammingError):
            raise
        except DriverError as error:
            name = getattr(error.orig, "sqlite_errorname", "").removeprefix("SQLITE_")
            wrong = _WRONG.get(name.partition("_")[0])
            if wrong is None and isinstance(error, OperationalError):
                wrong = ("can't be used", None)
            if wrong is None:
                raise
            raise DatabaseError(f"{self.path} {wrong[0]}: {error.orig}", wrong[1]) from error


def open_database(
    path: Path, wakes: Path | None = None, now: float | None = None, *, foreign_keys: bool = True
) -> Database:
    """Open a SQLite database whose schema is current (`migrate.open_current` sees to that)."""
    engine = create_engine(
        f"sqlite:///{path}", connect_args={"timeout": BUSY_SECS, "check_same_thread": False}
    )

    def configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's connection
        connection.isolation_level = None  # transactions begin where we say so
        keys = "ON" if foreign_keys else "OFF"
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", f"foreign_keys = {keys}"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", configure)
    return Database(engine, wakes, now, path)
