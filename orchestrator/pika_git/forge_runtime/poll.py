"""Seeing what changed in a repository: its refs are the truth, a hook only says when to look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pika_git.git import GitError, Repository
from pika_git.persistence import refs, repos
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pika_git.persistence.database import Database
    from pika_git.persistence.repos import Repo


def poll(
    database: Database, repo: Repo, pushers: Mapping[tuple[str, str], str] | None = None
) -> int:
    """Note the refs of a repository that changed; how many.

    `pushers` say who pushed, by ref and new commit. A repository that can't be read gets a problem.
    """
    try:
        heads = Repository(Path(repo.path)).refs()
    except GitError as error:
        problem = Repository(Path(repo.path)).problem() or str(error)
        with database.write() as connection:
            repos.set_problem(connection, repo.id, problem)
        return 0
    with database.read() as connection:
        before = {ref: head for ref, (_, head) in repos.known_heads(connection, repo.id).items()}
    if repo.problem is None and {ref: head for ref, head in before.items() if head} == heads:
        return 0
    with database.write() as connection:
        now = database.clock(connection)
        repos.set_problem(connection, repo.id, None)
        changed = refs.note(connection, repo.id, heads, pushers or {}, now)
        if changed:
            wake(connection, f"{changed} refs of {repo.name} changed", now)
    return changed
