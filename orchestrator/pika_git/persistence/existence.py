"""Whether what people name exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_EXISTS = {
    name: text(f"SELECT 1 FROM {table} WHERE id = :id")  # noqa: S608 - the tables are named here
    for name, table in (("branch", "branch"), ("lane", "lane"), ("run", "ci_run"))
}
_WORKER = text("SELECT state FROM worker WHERE name = :name")


def exists(connection: Connection, what: str, number: int) -> bool:
    """Whether there is such a `branch`, `lane` or `run`."""
    return connection.execute(_EXISTS[what], {"id": number}).first() is not None


def worker_state(connection: Connection, name: str) -> str | None:
    """The state of a worker: active, draining or gone; None if there was never one."""
    found: str | None = connection.execute(_WORKER, {"name": name}).scalar_one_or_none()
    return found
