"""What the forge knows, as JSON: the same that the pages show."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel

from pika_git.forge_service import details
from pika_git.forge_service.errors import MissingError
from pika_git.forge_service.forge import Forge
from pika_git.forge_service.forge_model import Health, Nightly, Queue, RepoLine, WorkerLine
from pika_git.forge_service.model import Branch, Feed, JobTests, Lane, Run
from pika_git.forge_service.recovery import named_repo
from pika_git.persistence.auth import Role
from pika_git.web.api.values import Cursor, Id
from pika_git.web.auth import ForgeDep, Who
from pika_git.web.routes import Routes

routes = Routes("/api/v1", "reading")


class LaneOfRun(BaseModel):
    """A lane, its run without the other lanes, and the tests of its last attempt's jobs."""

    lane: Lane
    run: Run
    tests: tuple[JobTests, ...]


@routes.get("/repos", Role.READ)
def list_repos(forge: ForgeDep, who: Who) -> tuple[RepoLine, ...]:
    """The repositories, by name; `path` and `error` are blank for callers without a token."""
    found = details.admin(forge).repos
    return tuple(map(_blanked, found)) if who.token_id is None else found


@routes.get("/repos/{repo_id}", Role.READ)
def show_repo(forge: ForgeDep, who: Who, repo_id: Id) -> RepoLine:
    """A repository; `path` and `error` are blank for callers without a token."""
    for found in list_repos(forge, who):
        if found.id == repo_id:
            return found
    raise MissingError(f"there is no repository {repo_id}", "`ph repo list` lists them")


@routes.get("/feed", Role.READ)
def show_feed(forge: ForgeDep, cursor: Cursor = None) -> Feed:
    """The branches, what changed last first."""
    return details.feed(forge, cursor)


@routes.get("/branches", Role.READ)
def list_branches(
    forge: ForgeDep,
    repo: Annotated[str | None, Query(max_length=200)] = None,
    ref: Annotated[str | None, Query(max_length=1000)] = None,
    cursor: Cursor = None,
) -> Feed:
    """The branches of a repository, by its name; the one of `ref`, full or without refs/heads/."""
    repo_id = None if repo is None else _repo_id(forge, repo)
    if ref is not None and not ref.startswith("refs/"):
        ref = f"refs/heads/{ref}"
    return details.feed(forge, cursor, repo_id, ref)


@routes.get("/branches/{branch_id}", Role.READ)
def show_branch(forge: ForgeDep, branch_id: Id, cursor: Cursor = None) -> Branch:
    """A branch: its newest run with its lanes, and the runs before it."""
    found = details.branch(forge, branch_id, cursor)
    if found is None:
        raise MissingError(f"there is no branch {branch_id}")
    return found


@routes.get("/runs/{run_id}", Role.READ)
def show_run(forge: ForgeDep, run_id: Id) -> Run:
    """A run with its lanes, failures first."""
    found = details.run(forge, run_id)
    if found is None:
        raise MissingError(f"there is no run {run_id}")
    return found


@routes.get("/lanes/{lane_id}", Role.READ)
def show_lane(forge: ForgeDep, lane_id: Id) -> LaneOfRun:
    """A lane: what it waited for, its attempts, its tests, and what was done to it."""
    found = details.lane(forge, lane_id)
    if found is None:
        raise MissingError(f"there is no lane {lane_id}")
    run, lane = found
    tests: tuple[JobTests, ...] = ()
    if lane.attempts:
        tests = details.recorded(forge, run.repo_id, lane.attempts[-1], run.now).tests
    return LaneOfRun(run=run, lane=lane, tests=tests)


@routes.get("/queue", Role.READ)
def show_queue(forge: ForgeDep, cursor: Cursor = None) -> Queue:
    """What waits, in its order, and what runs."""
    return details.queue(forge, cursor)


@routes.get("/workers", Role.READ)
def list_workers(forge: ForgeDep) -> tuple[WorkerLine, ...]:
    """The workers."""
    return details.workers(forge)


@routes.get("/health", Role.READ)
def show_health(forge: ForgeDep) -> Health:
    """Targets and hosts in cool-off, and what happened to their health."""
    return details.health(forge)


@routes.get("/nightly", Role.READ)
def show_nightly(forge: ForgeDep, cursor: Cursor = None) -> Nightly:
    """Nightly slots, the newest first."""
    return details.nightly(forge, cursor)


def _blanked(found: RepoLine) -> RepoLine:
    return replace(found, path="", error=None if found.error is None else "")


def _repo_id(forge: Forge, name: str) -> int:
    with forge.database.read() as connection:
        return named_repo(connection, name).id
