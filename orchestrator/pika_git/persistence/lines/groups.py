"""The line of a concurrency group: one holder, and one lane at the head that may be next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence.lines.reason import Reason, Waiting, set_reasons

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from pika_git.persistence.lines.facts import Facts

_HOLDER = text("""
    SELECT id FROM lane WHERE repo_id = :repo AND group_name = :group
      AND state IN ('running', 'cancelling') AND group_name IS NOT NULL
""")
_COLUMNS = "id, repo_id, ref, class AS klass, label_set_id, enqueued_at"
_HEAD = text(f"""
    SELECT {_COLUMNS} FROM lane WHERE repo_id = :repo AND group_name = :group
      AND ready = 1 AND group_name IS NOT NULL
""")  # noqa: S608 - constants
_FIRST = text(f"""
    SELECT {_COLUMNS} FROM lane WHERE repo_id = :repo AND group_name = :group
      AND reason = 'blocked_by_concurrency_group'
    ORDER BY enqueued_at, id LIMIT 1
""")  # noqa: S608 - constants


def blocked(group: str) -> Waiting:
    """A lane stands in a group's line; who held the group when is in `group_hold`."""
    return Waiting(Reason.GROUP, {"group": group})


def settle(connection: Connection, facts: Facts, repo: int, group: str) -> list[Row[Any]]:
    """Let the first in line be ready if the group is free, and no other; those that changed."""
    line = {"repo": repo, "group": group}
    head = connection.execute(_HEAD, line).one_or_none()
    if connection.execute(_HOLDER, line).first() is not None:
        first = None
    else:
        first = connection.execute(_FIRST, line).one_or_none()
        if head is not None and (first is None or _place(head) < _place(first)):
            return []
    changed = []
    if head is not None:
        set_reasons(connection, [(head.id, blocked(group))], facts.now)
        changed.append(head)
    if first is not None:
        set_reasons(connection, [(first.id, facts.fits(first.label_set_id))], facts.now)
        changed.append(first)
    return changed


def _place(row: Row[Any]) -> tuple[bool, float, int]:
    return isinstance(row.enqueued_at, str), row.enqueued_at, row.id  # a damaged one is last
