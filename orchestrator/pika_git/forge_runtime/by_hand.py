"""Runs that a person asks for: lanes or targets of their choice, at any ref."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pika_git.forge_runtime.registering import full_ref
from pika_git.git import GitError, Repository
from pika_git.persistence import repos, runs
from pika_git.persistence.queue import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pika_git.persistence.database import Database


def start(  # noqa: PLR0913 - what a person can say of a run
    database: Database,
    repo_id: int,
    ref: str,
    by: str,
    *,
    lanes: Sequence[str] = (),
    targets: Sequence[str] = (),
) -> int:
    """Begin a run of lanes or targets at a ref; its id. Neither named: the lanes of its change.

    Raises:
        RefusedError: there is no such repository or ref.
    """
    with database.read() as connection:
        repo = repos.get(connection, repo_id)
    if repo is None:
        raise RefusedError(f"there is no repository {repo_id}")
    if lanes and targets:
        raise RefusedError("lanes and targets are named", "name the one or the other")
    if any(name.startswith("-") for name in (*lanes, *targets)):
        raise RefusedError("a lane or target begins with `-`", "their ids never do")
    full = full_ref(ref)
    try:
        head = None if "\n" in full else Repository(Path(repo.path)).commit(full)
    except GitError as error:
        raise RefusedError(str(error)) from error
    if head is None:
        raise RefusedError(f"{repo.name} has no ref {full}", "push it, or name another")
    with database.write() as connection:
        return runs.create(
            connection,
            repo=repo.id,
            kind="manual",
            ref=full,
            head=head,
            by=by,
            now=database.clock(connection),
            asked=runs.Asked(tuple(lanes), tuple(targets)),
        )
