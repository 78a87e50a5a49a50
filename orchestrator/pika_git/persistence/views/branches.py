"""Branches with the runs of their heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

FIRST = (9e99, 2**62)
"""The cursor before which every branch comes."""

_BRANCH = """
    SELECT branch.*, repo.name AS repo, repo.default_branch,
        (SELECT max(id) FROM ci_run WHERE ci_run.branch_id = branch.id) AS run_id
    FROM branch LEFT JOIN repo ON repo.id = branch.repo_id
"""
_RECENT = text(f"""
    {_BRANCH} WHERE (branch.updated_at, branch.id) < (:at, :id)
      AND branch.repo_id = coalesce(:repo, branch.repo_id)
      AND branch.ref = coalesce(:ref, branch.ref)
    ORDER BY branch.updated_at DESC, branch.id DESC LIMIT :limit
""")
_ONE = text(f"{_BRANCH} WHERE branch.id = :branch")
_RUNS = text("SELECT * FROM ci_run WHERE id IN :runs").bindparams(bindparam("runs", expanding=True))
_RUNS_OF = text("""
    SELECT * FROM ci_run WHERE branch_id = :branch AND id < :before ORDER BY id DESC LIMIT :limit
""")
_COUNTS = text("""
    SELECT run_id, state, count(*) AS lanes, min(title) AS title FROM lane
    WHERE run_id IN :runs GROUP BY run_id, state
""").bindparams(bindparam("runs", expanding=True))


def recent(
    connection: Connection,
    cursor: tuple[float, int],
    limit: int,
    repo: int | None = None,
    ref: str | None = None,
) -> Sequence[Row[Any]]:
    """Branches, what changed last first, each with the id of its newest run."""
    values = {"at": cursor[0], "id": cursor[1], "limit": limit, "repo": repo, "ref": ref}
    return connection.execute(_RECENT, values).all()


def branch(connection: Connection, branch_id: int) -> Row[Any] | None:
    """One branch."""
    return connection.execute(_ONE, {"branch": branch_id}).one_or_none()


def runs(connection: Connection, ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Runs by their ids."""
    return connection.execute(_RUNS, {"runs": list(ids)}).all()


def runs_of(connection: Connection, branch_id: int, before: int, limit: int) -> Sequence[Row[Any]]:
    """The runs of a branch with an id below `before`, the newest first."""
    values = {"branch": branch_id, "before": before, "limit": limit}
    return connection.execute(_RUNS_OF, values).all()


def lane_counts(connection: Connection, run_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """(run_id, state, lanes, title of one of them)."""
    return connection.execute(_COUNTS, {"runs": list(run_ids)}).all()
