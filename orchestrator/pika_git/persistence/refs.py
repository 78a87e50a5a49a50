"""Changes of refs, in the order in which they were seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from pika_git.persistence import repos
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection

_BRANCH = text("""
    INSERT INTO branch (repo_id, ref, head, state, created_at, updated_at)
    VALUES (:repo, :ref, :new, 'open', :now, :now)
    ON CONFLICT (repo_id, ref) DO UPDATE SET head = :new, updated_at = :now,
        state = CASE WHEN :new IS NULL THEN
            CASE branch.state WHEN 'open' THEN 'deleted' ELSE branch.state END ELSE 'open' END
""")
_EVENT = text("""
    INSERT INTO ref_event (repo_id, ref, sequence, place, old, new, pusher, seen_at)
    SELECT :repo, :ref, coalesce(max(sequence), 0) + 1, :place, :old, :new, :pusher, :now
    FROM ref_event WHERE repo_id = :repo AND ref = :ref
""")
_NEXT = text("""
    SELECT event.id, event.repo_id, event.ref, event.old, event.new, event.pusher
    FROM ref_event AS event
    WHERE event.handled_at IS NULL
    ORDER BY event.place, event.id LIMIT :most
""")
_HANDLED = text("""
    UPDATE ref_event SET handled_at = :now, outcome = :outcome WHERE id = :id
""")
_NEWER = text("""
    SELECT 1 FROM ref_event AS newer JOIN ref_event AS own ON own.id = :id
    WHERE newer.repo_id = own.repo_id AND newer.ref = own.ref AND newer.sequence > own.sequence
""")
_TELL = text("""
    INSERT INTO push (repo_id, ref, new, pusher, at) VALUES (:repo, :ref, :new, :pusher, :now)
    ON CONFLICT (repo_id, ref, new) DO UPDATE SET pusher = coalesce(:pusher, pusher), at = :now
""")
_TOLD = text("SELECT ref, new, pusher, at FROM push WHERE repo_id = :repo")
_LOOKED = text("""
    DELETE FROM push WHERE repo_id = :repo AND ref = :ref AND new = :new AND at = :at
""")
_TOLD_REPOS = text("SELECT DISTINCT repo_id FROM push")
MOST_AT_ONCE = 50
ALL_REFS = {("", ""): None}
"""What tells of a push without saying to which ref."""


@dataclass(frozen=True)
class RefEvent:
    """A change of a ref: `old` is None if it was created, `new` if it was deleted."""

    id: int
    repo_id: int
    ref: str
    old: str | None
    new: str | None
    pusher: str | None


@dataclass(frozen=True)
class Told:
    """A push that something told of; `new` is "" for a deleted ref, `ref` for all of them."""

    ref: str
    new: str
    pusher: str | None
    at: float


def tell(
    connection: Connection, repo: int, pushers: Mapping[tuple[str, str], str | None], now: float
) -> None:
    """Have the refs of a repository looked at; `pushers` by ref and new commit (deleted: "")."""
    rows = [
        {"repo": repo, "ref": ref, "new": new, "pusher": pusher, "now": now}
        for (ref, new), pusher in pushers.items()
    ]
    if rows:
        connection.execute(_TELL, rows)
        wake(connection, f"a push to repository {repo}", now)


def told(connection: Connection, repo: int) -> list[Told]:
    """What was told of a repository since its refs were looked at."""
    return [Told(*row) for row in connection.execute(_TOLD, {"repo": repo})]


def told_repos(connection: Connection) -> set[int]:
    """The repositories that something was told of."""
    return set(connection.execute(_TOLD_REPOS).scalars())


def changes(
    known: Mapping[str, tuple[int, str | None]], heads: Mapping[str, str], kept: Collection[str]
) -> dict[str, str | None]:
    """The refs that are otherwise than known: their commits, or None if they are gone.

    `kept` are gone from `heads` and yet not deleted.
    """
    moved = {ref: head for ref, head in heads.items() if known.get(ref, (0, None))[1] != head}
    gone = [ref for ref, (_, old) in known.items() if old and ref not in heads]
    return {**moved, **{ref: None for ref in gone if ref not in kept}}


def note(
    connection: Connection,
    repo: int,
    changed: Mapping[str, str | None],
    looked: Sequence[Told],
    now: float,
) -> None:
    """Note the changes of a repository's refs, who made them, and that they were looked at."""
    known = repos.known_heads(connection, repo)
    pushers = {(each.ref, each.new): each.pusher for each in looked}
    rows = [
        {
            "repo": repo,
            "ref": ref,
            "place": place,
            "old": known.get(ref, (0, None))[1],
            "new": new,
            "pusher": pushers.get((ref, new or "")),
            "now": now,
        }
        for place, (ref, new) in enumerate(changed.items(), 1)
    ]
    if rows:
        connection.execute(_EVENT, rows)
        connection.execute(_BRANCH, rows)
        wake(connection, f"{len(rows)} refs of repository {repo} changed", now)
    if looked:
        gone = [{"repo": repo, "ref": each.ref, "new": each.new, "at": each.at} for each in looked]
        connection.execute(_LOOKED, gone)


def unhandled(connection: Connection) -> list[RefEvent]:
    """The next changes to look at. Pushes take turns: a large one delays no small one."""
    rows = connection.execute(_NEXT, {"most": MOST_AT_ONCE})
    return [RefEvent(**row._asdict()) for row in rows]


def has_newer(connection: Connection, event: int) -> bool:
    """Whether the ref has changed again since."""
    return connection.execute(_NEWER, {"id": event}).first() is not None


def handled(connection: Connection, event: int, outcome: str, now: float) -> None:
    """Note what was made of a change."""
    connection.execute(_HANDLED, {"id": event, "outcome": outcome, "now": now})
