"""Keeping the heads of runs: a branch may be pushed over or deleted while its lanes run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pika_git.git import OWN_REFS, GitError, Repository
from pika_git.persistence import runs

if TYPE_CHECKING:
    from pika_git.persistence.database import Database


def hold(repository: Repository, run: int, head: str) -> None:
    """Keep a run's head.

    Raises:
        GitError: there is no such commit any more, or the repository can't be written.
    """
    done = repository.run("update-ref", _ref(run), head)
    if done.code:
        raise GitError(f"could not keep the commit {head[:12]}: {done.reason}")


def release_all(database: Database) -> None:
    """Keep no longer the heads of runs that are over."""
    with database.read() as connection:
        over = runs.to_release(connection)
    for run, path in over:
        if Path(path).is_dir():
            Repository(Path(path)).run("update-ref", "-d", _ref(run))
        with database.write() as connection:
            runs.released(connection, run)


def hide(repository: Repository) -> None:
    """Hide the forge's refs from those who fetch and push."""
    hidden = repository.run("config", "--get-all", "transfer.hideRefs").text.split("\n")
    if OWN_REFS.rstrip("/") not in hidden:
        repository.out("config", "--add", "transfer.hideRefs", OWN_REFS.rstrip("/"))


def _ref(run: int) -> str:
    return f"{OWN_REFS}held/{run}"
