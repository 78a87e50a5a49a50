"""What people do to lanes, runs, workers and the queue; each act is noted with who and why.

An act and its note are one transaction. Errors: MissingError, InvalidError where a reason is
missing, ConflictError where the state does not allow it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pika_git.forge_service.errors import ConflictError, InvalidError, MissingError
from pika_git.persistence import audit, auth, existence, health, queue, repos, workers
from pika_git.persistence.wakes import wake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pika_git.forge_service.forge import Forge
    from pika_git.persistence.database import Connection

LONGEST_NAME = 100


@dataclass(frozen=True)
class Act:
    """Who does something, and why."""

    by: str
    why: str = ""

    def explained(self) -> Act:
        """This, if it says why."""
        if not self.why.strip():
            raise InvalidError("say why: it is kept with what you do", "give `why`, or --why")
        return self


@dataclass
class Doing:
    """An act that is being done, and what its note will have besides."""

    connection: Connection
    now: float
    detail: dict[str, Any] = field(default_factory=dict)


@contextmanager
def doing(forge: Forge, act: Act, action: str, what: str, which: object) -> Iterator[Doing]:
    """One transaction of an act on a lane, run, queue ... and its note in the audit."""
    with forge.database.write() as connection:
        if what in {"lane", "run"} and isinstance(which, int):
            require(connection, what, which)
        now = forge.database.clock(connection)
        done = Doing(connection, now)
        yield done
        audit.record(
            connection,
            who=act.by,
            action=action,
            subject=f"{what} {which}".strip(),
            why=act.why.strip(),
            now=now,
            detail=done.detail,
        )


def require(connection: Connection, what: str, which: int) -> None:
    """Raise MissingError unless there is such a `branch`, `lane` or `run`."""
    if not existence.exists(connection, what, which):
        raise MissingError(f"there is no {what} {which}")


def cancel_lane(forge: Forge, lane: int, act: Act) -> None:
    """Cancel a lane: at once if it waits, else when its run is gone."""
    with doing(forge, act.explained(), "cancel", "lane", lane):
        queue.cancel_lane(forge.database, lane, act.by, act.why)


def requeue_lane(forge: Forge, lane: int, act: Act) -> None:
    """Let a lane run again, as another attempt of its own."""
    with doing(forge, act.explained(), "requeue", "lane", lane):
        queue.requeue(forge.database, lane, act.by, act.why)


def fail_lane(forge: Forge, lane: int, act: Act) -> None:
    """End a lane as failed."""
    with doing(forge, act.explained(), "fail", "lane", lane):
        queue.fail_lane(forge.database, lane, act.by, act.why)


def rerun_lane(forge: Forge, lane: int, act: Act) -> int:
    """Run a lane again in a run of its own; the run's id."""
    with doing(forge, act, "rerun", "lane", lane) as done:
        done.detail["run"] = queue.rerun_lane(forge.database, lane, act.by, act.why)
    return int(done.detail["run"])


def wake_lane(forge: Forge, lane: int, act: Act) -> None:
    """Have everything that may begin looked at again."""
    with doing(forge, act, "wake", "lane", lane) as done:
        queue.sweep(forge.database)
        wake(done.connection, f"{act.by} asked for lane {lane}", done.now)


def cancel_run(forge: Forge, run: int, act: Act) -> int:
    """Cancel what is not over of a run; how many lanes."""
    with doing(forge, act.explained(), "cancel", "run", run) as done:
        done.detail["lanes"] = queue.cancel_run(forge.database, run, act.by, act.why)
    return int(done.detail["lanes"])


def rerun_run(forge: Forge, run: int, act: Act) -> int:
    """Run all lanes of a run again, in a new run; its id."""
    with doing(forge, act, "rerun", "run", run) as done:
        done.detail["run"] = queue.rerun_run(forge.database, run, act.by, act.why)
    return int(done.detail["run"])


def recover_run(forge: Forge, run: int, act: Act) -> int:
    """Bring a run on that is stuck; how many of its lanes wait again or ended."""
    with doing(forge, act.explained(), "recover", "run", run) as done:
        done.detail["lanes"] = queue.recover_run(forge.database, run, act.by, act.why)
    return int(done.detail["lanes"])


def pause_queue(forge: Forge, act: Act) -> None:
    """Let no lane begin."""
    with doing(forge, act.explained(), "pause", "queue", "") as done:
        queue.pause(done.connection, f"paused by {act.by}: {act.why}", done.now)


def resume_queue(forge: Forge, act: Act) -> None:
    """Let lanes begin again."""
    with doing(forge, act, "resume", "queue", "") as done:
        queue.resume(done.connection, done.now)


def drain_worker(forge: Forge, name: str, act: Act) -> None:
    """Let a worker finish what it has and claim no more."""
    with doing(forge, act.explained(), "drain", "worker", name) as done:
        _set_worker(done, name, "draining")


def resume_worker(forge: Forge, name: str, act: Act) -> None:
    """Let a drained worker claim again."""
    with doing(forge, act, "resume", "worker", name) as done:
        _set_worker(done, name, "active")


def _set_worker(done: Doing, name: str, state: str) -> None:
    before = existence.worker_state(done.connection, name)
    if before is None:
        raise MissingError(f"there is no worker {name}", "`ph queue` lists them")
    if before == state:
        raise ConflictError(f"worker {name} is {state} already")
    if before == "gone":
        raise ConflictError(f"worker {name} is gone", "start it with `pika-git worker`")
    workers.set_state(done.connection, name, state, done.now)


def clear_health(forge: Forge, kind: str, name: str, repo: str | None, act: Act) -> None:
    """Open a target or a host that is in cool-off; a target has a repository."""
    with doing(forge, act.explained(), "clear health", kind, name) as done:
        repo_id = 0
        if kind == "target":
            repo_id = named_repo(done.connection, repo or "").id
            done.detail["repo"] = repo
        if not health.clear(done.connection, kind, name, repo_id, act.why, done.now):
            raise ConflictError(f"there is nothing to clear: {kind} {name} is open")


def named_repo(connection: Connection, name: str) -> repos.Repo:
    """The repository of a name."""
    found = repos.named(connection, name)
    if found is None:
        raise MissingError(f"there is no repository {name!r}", "`ph repo list` lists them")
    return found


@dataclass(frozen=True)
class NewToken:
    """A token that was just made; its secret is shown this once."""

    id: int
    name: str
    role: str
    secret: str


def add_token(forge: Forge, name: str, role: str, by: str) -> NewToken:
    """Make a token."""
    if role not in auth.ROLES:
        raise InvalidError(f"there is no role {role!r}", "read, write or admin")
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidError(f"a token's name has 1 to {LONGEST_NAME} characters that can be shown")
    with doing(forge, Act(by), "add", "token", name) as done:
        number, secret = auth.add_token(done.connection, name, role, done.now)
        done.detail |= {"id": number, "role": role}
    return NewToken(number, name, role, secret)


def revoke_token(forge: Forge, token: int, by: str) -> None:
    """End a token, its sessions, and what is being answered to it within a minute."""
    with doing(forge, Act(by), "revoke", "token", token) as done:
        if not auth.revoke(done.connection, token, done.now):
            raise MissingError(f"there is no token {token} that is valid")
