"""Runs that a person asks for: lanes or targets of their choice, at any ref."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pika_git.forge_runtime.registering import full_ref
from pika_git.git import GitError, Repository
from pika_git.persistence import runs
from pika_git.persistence.queue import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pika_git.persistence.database import Connection
    from pika_git.persistence.repos import Repo


@dataclass(frozen=True)
class Wanted:
    """A run that can begin: the head is the ref's."""

    repo_id: int
    ref: str
    head: str
    asked: runs.Asked


def look(repo: Repo, ref: str, *, lanes: Sequence[str] = (), targets: Sequence[str] = ()) -> Wanted:
    """A run of lanes or targets at a ref. Neither named: the lanes of its change.

    It asks git: not in a transaction.

    Raises:
        RefusedError: there is no such ref, or what is named makes no sense.
    """
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
    return Wanted(repo.id, full, head, runs.Asked(tuple(lanes), tuple(targets)))


def begin(connection: Connection, wanted: Wanted, by: str, now: float) -> int:
    """Begin a run that was looked at; its id."""
    return runs.create(
        connection,
        repo=wanted.repo_id,
        kind="manual",
        ref=wanted.ref,
        head=wanted.head,
        by=by,
        now=now,
        asked=wanted.asked,
    )
