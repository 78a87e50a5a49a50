"""What people ask the forge to begin, and to take in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pika_git.forge_runtime import by_hand, nightly, registering
from pika_git.forge_runtime.registering import InvalidRepositoryError
from pika_git.forge_service.errors import ConflictError, InvalidError
from pika_git.forge_service.merge import Gate, Outcome
from pika_git.forge_service.recovery import Act, doing, named_repo, require
from pika_git.git import Repository
from pika_git.persistence import refs

if TYPE_CHECKING:
    from pika_git.forge_service.forge import Forge
    from pika_git.persistence.repos import Repo
    from pika_git.persistence.runs import Asked


def _repo(forge: Forge, name: str) -> Repo:
    with forge.database.read() as connection:
        return named_repo(connection, name)


def start_run(forge: Forge, repo: str, ref: str, asked: Asked, act: Act) -> int:
    """Begin a run of lanes or of targets at a ref; its id."""
    found = _repo(forge, repo)
    wanted = {"lanes": asked.lanes, "targets": asked.targets}
    looked = by_hand.look(found, ref, **wanted)
    with doing(forge, act, "run", "repo", repo) as done:
        run = by_hand.begin(done.connection, looked, act.by, done.now)
        done.detail |= {"run": run, "ref": ref, **wanted}
    return run


def start_nightly(forge: Forge, repo: str, act: Act) -> int:
    """Begin a nightly run of a repository's default branch now; its id."""
    found = _repo(forge, repo)
    head = Repository(Path(found.path)).commit(found.default_branch)
    if head is None:
        raise ConflictError(f"{repo} has no {found.default_branch} yet", "push it")
    with doing(forge, act, "nightly", "repo", repo) as done:
        run = nightly.start(done.connection, found, head, act.by, done.now)
        done.detail["run"] = run
    return run


def add_repo(forge: Forge, name: str, path: str, default_branch: str | None, act: Act) -> int:
    """Register a bare repository of this machine; its id."""
    if not path.startswith("/"):
        raise InvalidError(f"{path!r} is not an absolute path", "name it as it is on the server")
    try:
        looked = registering.look(name, Path(path), default_branch)
        with doing(forge, act, "add", "repo", name) as done:
            found = registering.add(done.connection, looked, done.now)
            done.detail |= {"id": found, "path": path}
    except InvalidRepositoryError as error:
        raise InvalidError(error.message, error.hint) from None
    return found


def push_told(forge: Forge, repo: str) -> None:
    """Have a repository looked at, because something says that it was pushed to."""
    found = _repo(forge, repo)
    with forge.database.write() as connection:
        refs.tell(connection, found.id, refs.ALL_REFS, forge.database.clock(connection))


def merge(forge: Forge, branch: int, act: Act, *, force: bool) -> Outcome:
    """Merge a branch if its gate lets it; a forced merge, which asks no lane, says why."""
    if force:
        act.explained()
    with forge.database.read() as connection:
        require(connection, "branch", branch)
    return Gate(forge.database, forge.data).merge(branch, act.by, act.why, force=force)


def close(forge: Forge, branch: int, act: Act) -> None:
    """Close a branch: what its lanes still do is cancelled."""
    with forge.database.write() as connection:
        require(connection, "branch", branch)
        Gate(forge.database, forge.data).close(branch, act.by, act.explained().why)
