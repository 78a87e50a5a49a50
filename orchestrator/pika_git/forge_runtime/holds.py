"""Keeping the heads of runs: a branch may be pushed over or deleted while its lanes run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pika_git.git import OWN_REFS, GitError, Repository
from pika_git.persistence import runs

if TYPE_CHECKING:
    from pika_git.persistence.database import Database

log = logging.getLogger("pika_git")


def hold(repository: Repository, run: int, head: str) -> None:
    """Keep a run's head.

    Raises:
        GitError: there is no such commit any more, or the repository can't be written.
    """
    done = repository.run("update-ref", _ref(run), head)
    if done.code:
        raise GitError(f"could not keep the commit {head[:12]}: {done.reason}")


def release_all(database: Database) -> None:
    """Keep no longer the heads of runs that are over; one transaction a repository.

    What can't be removed from a repository is tried again; one that is gone holds nothing.
    """
    with database.read() as connection:
        over = runs.to_release(connection)
    for path in {path for _, path in over}:
        ids = [run for run, of in over if of == path]
        if Path(path).is_dir():
            repository = Repository(Path(path))
            try:
                done = repository.update_refs([f"delete {_ref(run)}" for run in ids])
            except GitError as error:
                log.warning("could not release heads: %s", error)
                continue
            if done.code and repository.problem() is None:
                log.warning("could not release heads in %s: %s", path, done.reason)
                continue
        with database.write() as connection:
            for run in ids:
                runs.released(connection, run)


def hide(repository: Repository) -> None:
    """Hide the forge's refs from those who fetch and push."""
    hidden = repository.run("config", "--get-all", "transfer.hideRefs").text.split("\n")
    if OWN_REFS.rstrip("/") not in hidden:
        repository.out("config", "--add", "transfer.hideRefs", OWN_REFS.rstrip("/"))


def _ref(run: int) -> str:
    return f"{OWN_REFS}held/{run}"
