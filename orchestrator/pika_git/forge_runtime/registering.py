"""Registering a repository: from then on its pushes run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pika_git.forge_runtime.holds import hide
from pika_git.git import GitError, Repository
from pika_git.persistence import repos
from pika_git.persistence.repos import BRANCHES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pika_git.git import Refs
    from pika_git.persistence.database import Connection, Database

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
HEADS = "refs/heads/"


class InvalidRepositoryError(Exception):
    """It can't be registered; the hint says what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Found:
    """A repository that can be registered, if no other has its name or path."""

    name: str
    path: Path
    branch: str
    refs: Refs


def register(  # noqa: PLR0913 - what can be set of a repository
    database: Database,
    name: str,
    path: Path,
    *,
    default_branch: str | None = None,
    run_refs: Sequence[str] = (BRANCHES,),
    flake_dir: str = "",
    cancel_superseded: bool = False,
) -> int:
    """Register the bare repository at `path`; its id. What it has now runs when it changes next.

    The default branch is HEAD's unless named.

    Raises:
        InvalidRepositoryError: the name or the repository can't be used, or is registered.
    """
    found = look(name, path, default_branch)
    with database.write() as connection:
        return add(
            connection,
            found,
            database.clock(connection),
            run_refs=run_refs,
            flake_dir=flake_dir,
            cancel_superseded=cancel_superseded,
        )


def look(name: str, path: Path, default_branch: str | None = None) -> Found:
    """What a repository has. It asks git, and hides its own refs there: not in a transaction.

    Raises:
        InvalidRepositoryError: the name or the repository can't be used.
    """
    if not NAME.fullmatch(name):
        hint = "letters, digits, `.`, `_` and `-`, at most 64"
        raise InvalidRepositoryError(f"{name!r} is not a name of a repository", hint)
    try:
        path = path.resolve()
        repository = Repository(path)
        if problem := repository.problem():
            raise InvalidRepositoryError(problem, "`git init --bare DIR` makes one")
        branch = full_ref(default_branch or repository.out("symbolic-ref", "HEAD"))
        hide(repository)
        found = repository.refs()
    except OSError as error:
        raise InvalidRepositoryError(f"{str(path)[:200]}: {error.strerror}") from error
    except GitError as error:
        raise InvalidRepositoryError(str(error), "may this user write to it?") from error
    return Found(name, path, branch, found)


def add(  # noqa: PLR0913 - what can be set of a repository
    connection: Connection,
    found: Found,
    now: float,
    *,
    run_refs: Sequence[str] = (BRANCHES,),
    flake_dir: str = "",
    cancel_superseded: bool = False,
) -> int:
    """Register a repository that was looked at; its id.

    Raises:
        InvalidRepositoryError: its name or its path is registered.
    """
    if repos.named(connection, found.name) is not None:
        raise InvalidRepositoryError(f"a repository {found.name} is registered already")
    if (other := repos.at(connection, str(found.path))) is not None:
        raise InvalidRepositoryError(f"{found.path} is registered already, as {other.name}")
    return repos.add(
        connection,
        name=found.name,
        path=str(found.path),
        default_branch=found.branch,
        heads=found.refs.commits,
        now=now,
        run_refs=run_refs,
        flake_dir=flake_dir.strip("/"),
        cancel_superseded=cancel_superseded,
    )


def full_ref(name: str) -> str:
    """The full ref of a branch that is named in short."""
    return name if name.startswith("refs/") else HEADS + name
