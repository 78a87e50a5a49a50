"""What is done to repositories and branches, and runs by hand."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request
from pydantic import BaseModel, Field, StringConstraints

from pika_git.forge_service import requests
from pika_git.forge_service.merge import Outcome
from pika_git.forge_service.recovery import Act
from pika_git.persistence.auth import Role
from pika_git.persistence.runs import Asked
from pika_git.web.api.lanes import act
from pika_git.web.api.values import Began, Body, Done, Id, Text, Why
from pika_git.web.auth import ForgeDep, Who
from pika_git.web.errors import ApiError
from pika_git.web.routes import Routes

routes = Routes("/api/v1", "repositories and branches")

MOST_NAMES = 200
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class AskedRun(Body):
    """A run by hand: of lanes, of targets, or of the lanes that the ref's change selects."""

    repo: Name
    ref: Annotated[Text, StringConstraints(min_length=1)]
    lanes: list[Name] = Field(default=[], max_length=MOST_NAMES)
    targets: list[Name] = Field(default=[], max_length=MOST_NAMES)
    why: Text = ""


class AskedNightly(Body):
    """A nightly run now."""

    repo: Name
    why: Text = ""


class AskedMerge(Why):
    """A merge; `force` asks no lane, and takes an admin who says why."""

    force: bool = False


class NewRepo(Body):
    """A bare repository on the server's machine."""

    name: Text
    path: Text
    default_branch: Text | None = None
    why: Text = ""


class Registered(BaseModel):
    """The repository's id."""

    id: int
    done: str


@routes.post("/runs", Role.WRITE, status_code=201)
def start_run(forge: ForgeDep, who: Who, asked: AskedRun) -> Began:
    """Begin a run by hand; it goes before what pushes began."""
    wanted = Asked(tuple(asked.lanes), tuple(asked.targets))
    run = requests.start_run(forge, asked.repo, asked.ref, wanted, Act(who.name, asked.why))
    return Began(run_id=run)


@routes.post("/nightly/run", Role.ADMIN, status_code=201)
def start_nightly(forge: ForgeDep, who: Who, asked: AskedNightly) -> Began:
    """Begin a nightly run of a repository's default branch now."""
    return Began(run_id=requests.start_nightly(forge, asked.repo, Act(who.name, asked.why)))


@routes.post("/repos", Role.ADMIN, status_code=201)
def add_repo(forge: ForgeDep, who: Who, asked: NewRepo) -> Registered:
    """Register a bare repository; its refs run when they change next."""
    found = requests.add_repo(
        forge, asked.name, asked.path, asked.default_branch, Act(who.name, asked.why)
    )
    return Registered(id=found, done=f"repository {asked.name} is registered")


@routes.post("/hooks/push/{repo}", Role.WRITE, status_code=202)
async def push_hook(
    request: Request, forge: ForgeDep, repo: Annotated[str, Path(max_length=200)]
) -> Done:
    """Have a repository looked at soon. What is sent is not read: its refs are the truth."""
    from starlette.concurrency import run_in_threadpool

    async for _ in request.stream():  # one that is too large is refused
        pass
    await run_in_threadpool(requests.push_told, forge, repo)
    return Done(done=f"repository {repo} will be looked at")


@routes.post("/branches/{branch_id}/merge", Role.WRITE)
def merge(forge: ForgeDep, who: Who, branch_id: Id, asked: AskedMerge) -> Outcome:
    """Merge a branch, or have the lanes run that it takes; `force` is for admins, and says why."""
    if asked.force and who.role < Role.ADMIN:
        raise ApiError(403, f"{who.name} has the role {who.role_name}; `force` needs admin")
    return requests.merge(forge, branch_id, act(who, asked), force=asked.force)


@routes.post("/branches/{branch_id}/close", Role.WRITE)
def close(forge: ForgeDep, who: Who, branch_id: Id, why: Why) -> Done:
    """Close a branch: what its lanes still do is cancelled. Needs `why`."""
    requests.close(forge, branch_id, act(who, why))
    return Done(done=f"branch {branch_id} is closed")
