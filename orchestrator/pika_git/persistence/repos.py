"""The registered repositories."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

BRANCHES = "refs/heads/" + "*"

_GET = text("SELECT * FROM repo WHERE id = :id")
_NAMED = text("SELECT * FROM repo WHERE name = :name")
_AT = text("SELECT * FROM repo WHERE path = :path")
_ALL = text("SELECT * FROM repo ORDER BY name")
_ADD = text("""
    INSERT INTO repo
        (name, path, default_branch, run_refs, flake_dir, cancel_superseded, created_at)
    VALUES (:name, :path, :default_branch, :run_refs, :flake_dir, :cancel_superseded, :now)
    RETURNING id
""")
_PROBLEM = text("UPDATE repo SET problem = :problem WHERE id = :id AND problem IS NOT :problem")
_PAUSE = text("UPDATE repo SET paused = :paused WHERE id = :id")
_KNOWN = text("SELECT id, ref, head FROM branch WHERE repo_id = :repo")


@dataclass(frozen=True)
class Repo:
    """A repository whose pushes the forge runs."""

    id: int
    name: str
    path: str
    default_branch: str
    run_refs: tuple[str, ...]
    flake_dir: str
    cancel_superseded: bool
    paused: bool
    created_at: float
    problem: str | None

    def runs(self, ref: str) -> bool:
        """Whether a push to `ref` runs lanes."""
        return any(fnmatchcase(ref, pattern) for pattern in self.run_refs)


def add(
    connection: Connection,
    *,
    name: str,
    path: str,
    default_branch: str,
    heads: Mapping[str, str],
    now: float,
    run_refs: Sequence[str] = (BRANCHES,),
    flake_dir: str = "",
    cancel_superseded: bool = False,
) -> int:
    """Register a repository; `heads` are its refs, which run when they change next."""
    values: dict[str, Any] = {"name": name, "path": path, "default_branch": default_branch}
    values |= {"run_refs": json.dumps(list(run_refs)), "flake_dir": flake_dir, "now": now}
    values |= {"cancel_superseded": cancel_superseded}
    repo = int(connection.execute(_ADD, values).scalar_one())
    insert = text("""
        INSERT INTO branch (repo_id, ref, head, state, created_at, updated_at)
        VALUES (:repo, :ref, :head, 'open', :now, :now)
    """)
    rows = [{"repo": repo, "ref": ref, "head": head, "now": now} for ref, head in heads.items()]
    if rows:
        connection.execute(insert, rows)
    return repo


def get(connection: Connection, repo: int) -> Repo | None:
    """A repository by its id."""
    return _one(connection.execute(_GET, {"id": repo}).one_or_none())


def named(connection: Connection, name: str) -> Repo | None:
    """A repository by its name."""
    return _one(connection.execute(_NAMED, {"name": name}).one_or_none())


def at(connection: Connection, path: str) -> Repo | None:
    """A repository by its directory."""
    return _one(connection.execute(_AT, {"path": path}).one_or_none())


def every(connection: Connection) -> list[Repo]:
    """All repositories, by name."""
    return [_repo(row) for row in connection.execute(_ALL)]


def set_problem(connection: Connection, repo: int, problem: str | None) -> None:
    """Note what keeps a repository from being read; None if nothing does."""
    connection.execute(_PROBLEM, {"id": repo, "problem": problem})


def set_paused(connection: Connection, repo: int, *, paused: bool) -> None:
    """Let no lane of a repository begin, or let them begin again."""
    connection.execute(_PAUSE, {"id": repo, "paused": paused})


def known_heads(connection: Connection, repo: int) -> dict[str, tuple[int, str | None]]:
    """The refs that were seen: (branch id, commit or None if it was deleted)."""
    rows = connection.execute(_KNOWN, {"repo": repo})
    return {row.ref: (row.id, row.head) for row in rows}


def _one(row: Row[Any] | None) -> Repo | None:
    return None if row is None else _repo(row)


def _repo(row: Row[Any]) -> Repo:
    try:
        refs = tuple(str(ref) for ref in json.loads(row.run_refs))
    except (ValueError, TypeError):
        refs = ()
    flags = {name: bool(getattr(row, name)) for name in ("cancel_superseded", "paused")}
    values = dict(row._mapping) | {"run_refs": refs} | flags  # noqa: SLF001 - SQLAlchemy's public name
    return Repo(**{name: values[name] for name in Repo.__dataclass_fields__})
