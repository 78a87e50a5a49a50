"""Seeing what changed in a repository: its refs are the truth, a hook only says when to look.

A poll reads the refs and then notes, in one transaction, how they differ from those noted before.
Polls of a repository come one after the other: what an earlier one read is never noted later.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from pika_git.git import GitError, Repository
from pika_git.persistence import refs, repos

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pika_git.git import Refs
    from pika_git.persistence.database import Database
    from pika_git.persistence.repos import Repo

_LOCKS: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)
"""By repository. Only the service polls, and it is one process."""


def poll(
    database: Database, repo: Repo, pushers: Mapping[tuple[str, str], str | None] | None = None
) -> int:
    """Note the refs of a repository that changed; how many.

    `pushers` say who pushed, by ref and new commit (deleted: ""), beside what was told before. A
    repository that can't be read gets a problem, in words.
    """
    with _LOCKS[repo.id]:
        if pushers:
            with database.write() as connection:
                refs.tell(connection, repo.id, pushers, database.clock(connection))
        repository = Repository(Path(repo.path))
        try:
            return _poll(database, repo, repository)
        except GitError as error:
            problem = repository.problem() or str(error)
        with database.write() as connection:
            repos.set_problem(connection, repo.id, problem)
        return 0


def _poll(database: Database, repo: Repo, repository: Repository) -> int:
    with database.read() as connection:
        told = refs.told(connection, repo.id)
        known = repos.known_heads(connection, repo.id)
    found = repository.refs({head for _, head in known.values() if head})
    changed = refs.changes(known, found.commits, _not_deleted(known, found))
    if changed or told or repo.problem != found.problem:
        with database.write() as connection:
            refs.note(connection, repo.id, changed, told, database.clock(connection))
            repos.set_problem(connection, repo.id, found.problem)
    return len(changed)


def _not_deleted(known: Mapping[str, object], found: Refs) -> set[str]:
    """Refs that git doesn't list, or that name what is missing: damaged, which no push did."""
    return set(known) if found.warning else set(found.unreadable)
