"""What the merge gate asks and keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_BRANCH = text("""
    SELECT branch.id, branch.ref, branch.state, branch.head, repo.id AS repo_id, repo.path,
        repo.default_branch AS target_ref, repo.flake_dir
    FROM branch JOIN repo ON repo.id = branch.repo_id WHERE branch.id = :branch
""")
_VERDICTS = text("""
    SELECT lane.name, lane.target, lane.state, lane.failure_kind, lane.run_id
    FROM ci_run JOIN lane ON lane.run_id = ci_run.id
    WHERE ci_run.repo_id = :repo AND (ci_run.tree = :tree OR ci_run.head = :head)
    ORDER BY lane.id
""")
_NEWEST_RUN = text("""
    SELECT id, state, message, hint FROM ci_run
    WHERE branch_id = :branch AND head = :head AND kind = 'branch' ORDER BY id DESC LIMIT 1
""")
_BEGIN = text("""
    INSERT INTO merge (branch_id, target_ref, target_head, head, merge_commit, run_id, state,
        message, forced, requested_by, why, created_at)
    VALUES (:branch_id, :target_ref, :target_head, :head, :merge_commit, :run_id, :state,
        :message, :forced, :requested_by, :why, :now)
    RETURNING id
""")
_ROWS = text("""
    SELECT merge.*, ci_run.state AS run_state FROM merge
    LEFT JOIN ci_run ON ci_run.id = merge.run_id
    WHERE merge.state IN ('waiting', 'moving') AND (:branch IS NULL OR merge.branch_id = :branch)
    ORDER BY merge.id
""")
_STATE = text("""
    UPDATE merge SET state = :state, message = coalesce(:message, message),
        finished_at = CASE WHEN :state IN ('merged', 'refused') THEN :now END
    WHERE id = :merge AND state IN ('waiting', 'moving')
""")
_MERGED = text("""
    UPDATE branch SET state = 'merged', merge_commit = :commit, updated_at = :now
    WHERE id = :branch AND head = :head
""")
_CLOSED = text("""
    UPDATE branch SET state = 'closed', updated_at = :now WHERE id = :branch AND state = 'open'
""")
_RUNS_OF = text("SELECT id FROM ci_run WHERE branch_id = :branch AND finished_at IS NULL")
_PENDING = text("""
    SELECT 1 FROM ref_event WHERE repo_id = :repo AND ref = :ref AND handled_at IS NULL
""")
UNFINISHED = ("planning", "queued", "running")


@dataclass(frozen=True)
class Branch:
    """A branch, and what it would be merged into."""

    id: int
    ref: str
    state: str
    head: str | None
    repo_id: int
    path: str
    target_ref: str
    flake_dir: str


@dataclass(frozen=True)
class Verdict:
    """The newest state of a lane on some tree."""

    name: str
    target: str
    state: str
    failure_kind: str | None
    run_id: int


@dataclass(frozen=True)
class RunState:
    """The newest run of a branch's head."""

    id: int
    state: str
    message: str | None
    hint: str | None


@dataclass(frozen=True)
class Merge:
    """A merge that was asked for and has not ended; `state` is `waiting` or `moving`."""

    id: int
    branch_id: int
    target_ref: str
    target_head: str
    head: str
    merge_commit: str
    run_id: int | None
    run_state: str | None
    state: str
    message: str | None
    forced: bool
    requested_by: str
    why: str


def branch(connection: Connection, branch_id: int) -> Branch | None:
    """A branch by its id."""
    row = connection.execute(_BRANCH, {"branch": branch_id}).mappings().one_or_none()
    return None if row is None else Branch(**row)


def verdicts(connection: Connection, repo_id: int, tree: str, head: str) -> dict[str, Verdict]:
    """The newest lane of each name that ran on a tree, or on the commit."""
    rows = connection.execute(_VERDICTS, {"repo": repo_id, "tree": tree, "head": head})
    return {row.name: Verdict(row.name, *row[1:]) for row in rows}


def newest_run(connection: Connection, branch_id: int, head: str) -> RunState | None:
    """The newest run that a push of this head made."""
    row = connection.execute(_NEWEST_RUN, {"branch": branch_id, "head": head})
    found = row.mappings().one_or_none()
    return None if found is None else RunState(**found)


def is_pending(connection: Connection, repo_id: int, ref: str) -> bool:
    """Whether a change of the ref was seen of which no run was made yet."""
    return connection.execute(_PENDING, {"repo": repo_id, "ref": ref}).first() is not None


def open_merges(connection: Connection, branch_id: int | None = None) -> list[Merge]:
    """The merges that have not ended, of one branch or of all."""
    names = Merge.__dataclass_fields__
    rows = connection.execute(_ROWS, {"branch": branch_id}).mappings()
    return [Merge(**{name: row[name] for name in names}) for row in rows]


def begin(connection: Connection, now: float, **values: Any) -> int:  # noqa: ANN401 - the columns
    """Keep a merge that waits for its run, or is about to move the branch; its id."""
    defaults = {"run_id": None, "message": None, "forced": False}
    return int(connection.execute(_BEGIN, {**defaults, **values, "now": now}).scalar_one())


def end(
    connection: Connection, merge: int, state: str, now: float, message: str | None = None
) -> bool:
    """Move a merge to another state; False if it has ended before."""
    values = {"merge": merge, "state": state, "message": message, "now": now}
    return connection.execute(_STATE, values).rowcount > 0


def end_open(connection: Connection, branch_id: int, now: float, message: str) -> None:
    """Refuse what a branch waits for."""
    for row in open_merges(connection, branch_id):
        end(connection, row.id, "refused", now, message)


def mark_merged(connection: Connection, merge: Merge, now: float) -> None:
    """The merge's branch is merged, unless it was pushed to meanwhile."""
    values = {"branch": merge.branch_id, "head": merge.head, "commit": merge.merge_commit}
    connection.execute(_MERGED, {**values, "now": now})


def mark_closed(connection: Connection, branch_id: int, now: float) -> list[int] | None:
    """Close an open branch; its runs that have not ended, or None if it is not open."""
    if connection.execute(_CLOSED, {"branch": branch_id, "now": now}).rowcount == 0:
        return None
    return list(connection.execute(_RUNS_OF, {"branch": branch_id}).scalars())
