"""Changes of refs, in the order in which they were seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from pika_git.persistence import repos

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

_BRANCH = text("""
    INSERT INTO branch (repo_id, ref, head, state, created_at, updated_at)
    VALUES (:repo, :ref, :new, 'open', :now, :now)
    ON CONFLICT (repo_id, ref) DO UPDATE SET head = :new, updated_at = :now,
        state = CASE WHEN :new IS NULL THEN
            CASE branch.state WHEN 'open' THEN 'deleted' ELSE branch.state END ELSE 'open' END
""")
_EVENT = text("""
    INSERT INTO ref_event (repo_id, ref, sequence, old, new, pusher, seen_at)
    SELECT :repo, :ref, coalesce(max(sequence), 0) + 1, :old, :new, :pusher, :now
    FROM ref_event WHERE repo_id = :repo AND ref = :ref
""")
_NEXT = text("""
    SELECT event.id, event.repo_id, event.ref, event.old, event.new, event.pusher
    FROM ref_event AS event
    WHERE event.handled_at IS NULL
    ORDER BY (SELECT count(*) FROM ref_event AS other WHERE other.handled_at IS NULL
              AND other.repo_id = event.repo_id AND other.seen_at = event.seen_at), event.id
    LIMIT :most
""")
_HANDLED = text("""
    UPDATE ref_event SET handled_at = :now, outcome = :outcome WHERE id = :id
""")
_NEWER = text("""
    SELECT 1 FROM ref_event AS newer JOIN ref_event AS own ON own.id = :id
    WHERE newer.repo_id = own.repo_id AND newer.ref = own.ref AND newer.sequence > own.sequence
""")
MOST_AT_ONCE = 50


@dataclass(frozen=True)
class RefEvent:
    """A change of a ref: `old` is None if it was created, `new` if it was deleted."""

    id: int
    repo_id: int
    ref: str
    old: str | None
    new: str | None
    pusher: str | None


def note(
    connection: Connection,
    repo: int,
    heads: Mapping[str, str],
    pushers: Mapping[tuple[str, str], str],
    now: float,
) -> int:
    """Note how the refs differ from those seen before; how many do.

    `pushers` say who pushed: by ref and new commit (of a deleted one: "").
    """
    before = repos.known_heads(connection, repo)
    now_there = {ref: head for ref, head in heads.items() if before.get(ref, (0, None))[1] != head}
    gone = {ref: None for ref, (_, old) in before.items() if old and ref not in heads}
    rows = [
        {
            "repo": repo,
            "ref": ref,
            "old": before.get(ref, (0, None))[1],
            "new": new,
            "pusher": pushers.get((ref, new or "")),
            "now": now,
        }
        for ref, new in {**now_there, **gone}.items()
    ]
    if rows:
        connection.execute(_EVENT, rows)
        connection.execute(_BRANCH, rows)
    return len(rows)


def unhandled(connection: Connection) -> list[RefEvent]:
    """The next changes to look at. Small pushes come before large ones: they'd wait for minutes."""
    rows = connection.execute(_NEXT, {"most": MOST_AT_ONCE})
    return [RefEvent(**row._asdict()) for row in rows]


def has_newer(connection: Connection, event: int) -> bool:
    """Whether the ref has changed again since."""
    return connection.execute(_NEWER, {"id": event}).first() is not None


def handled(connection: Connection, event: int, outcome: str, now: float) -> None:
    """Note what was made of a change."""
    connection.execute(_HANDLED, {"id": event, "outcome": outcome, "now": now})
