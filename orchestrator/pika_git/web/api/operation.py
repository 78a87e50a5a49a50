"""What administrators do: the queue, workers, health, tokens; and the audit."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel

from pika_git.forge_service import details, recovery
from pika_git.forge_service.forge_model import TokenLine
from pika_git.forge_service.model import Act as Acted
from pika_git.forge_service.recovery import Act, NewToken
from pika_git.persistence.auth import Role
from pika_git.web.api.lanes import act
from pika_git.web.api.values import Body, Cursor, Done, Id, Text, Why
from pika_git.web.auth import ForgeDep, Who
from pika_git.web.routes import Routes

routes = Routes("/api/v1", "operation")

Name = Annotated[str, Path(max_length=200)]


class Clear(Body):
    """Which target, of which repository, or which host is opened, and why."""

    kind: Literal["target", "host"]
    name: Text
    repo: Text | None = None
    why: Text = ""


class Wanted(Body):
    """A token that is wanted."""

    name: Text
    role: Literal["read", "write", "admin"]


class AuditPage(BaseModel):
    """What people did, the newest first; `next` is the cursor of what is older."""

    entries: tuple[Acted, ...]
    next: str | None


@routes.post("/queue/pause", Role.ADMIN)
def pause(forge: ForgeDep, who: Who, why: Why) -> Done:
    """Let no lane begin. Needs `why`."""
    recovery.pause_queue(forge, act(who, why))
    return Done(done="the queue is paused: what runs continues, nothing begins")


@routes.post("/queue/resume", Role.ADMIN)
def resume(forge: ForgeDep, who: Who, why: Why | None = None) -> Done:
    """Let lanes begin again."""
    recovery.resume_queue(forge, act(who, why))
    return Done(done="the queue is no longer paused")


@routes.post("/workers/{name}/drain", Role.ADMIN)
def drain(forge: ForgeDep, who: Who, name: Name, why: Why) -> Done:
    """Let a worker finish what it has and claim no more. Needs `why`."""
    recovery.drain_worker(forge, name, act(who, why))
    return Done(done=f"worker {name} claims no more lanes")


@routes.post("/workers/{name}/resume", Role.ADMIN)
def resume_worker(forge: ForgeDep, who: Who, name: Name, why: Why | None = None) -> Done:
    """Let a drained worker claim again."""
    recovery.resume_worker(forge, name, act(who, why))
    return Done(done=f"worker {name} claims lanes again")


@routes.post("/health/clear", Role.ADMIN)
def clear(forge: ForgeDep, who: Who, asked: Clear) -> Done:
    """Open a target or a host that is in cool-off. Needs `why`."""
    recovery.clear_health(forge, asked.kind, asked.name, asked.repo, Act(who.name, asked.why))
    return Done(done=f"{asked.kind} {asked.name} is open")


@routes.get("/tokens", Role.ADMIN)
def tokens(forge: ForgeDep) -> tuple[TokenLine, ...]:
    """All tokens, without their secrets."""
    return details.admin(forge).tokens


@routes.post("/tokens", Role.ADMIN, status_code=201)
def add_token(forge: ForgeDep, who: Who, wanted: Wanted) -> NewToken:
    """Make a token; its secret is shown this once."""
    return recovery.add_token(forge, wanted.name, wanted.role, who.name)


@routes.delete("/tokens/{token_id}", Role.ADMIN)
def revoke_token(forge: ForgeDep, who: Who, token_id: Id) -> Done:
    """End a token and its sessions."""
    recovery.revoke_token(forge, token_id, who.name)
    return Done(done=f"token {token_id} is revoked")


@routes.get("/audit", Role.ADMIN)
def show_audit(forge: ForgeDep, cursor: Cursor = None) -> AuditPage:
    """Who did what and why, the newest first."""
    found = details.admin(forge, cursor)
    return AuditPage(entries=found.audit, next=found.next)
