"""What people do by the buttons of pages: each is a form, and leads back to a page."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Form, Path, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pika_git.forge_service import recovery, requests
from pika_git.forge_service.recovery import Act
from pika_git.persistence.auth import Role
from pika_git.web.auth import ForgeDep, Who
from pika_git.web.errors import ApiError
from pika_git.web.pages.render import Id, page
from pika_git.web.routes import Routes

Why = Annotated[str, Form(max_length=500)]
Name = Annotated[str, Path(max_length=200)]

routes = Routes()


def _to(path: str, did: str) -> Response:
    return RedirectResponse(f"{path}?did={did}", HTTPStatus.SEE_OTHER)


@routes.post("/lanes/{lane_id}/cancel", Role.WRITE, include_in_schema=False)
def cancel_lane(forge: ForgeDep, who: Who, lane_id: Id, why: Why = "") -> Response:
    """Cancel a lane."""
    recovery.cancel_lane(forge, lane_id, Act(who.name, why))
    return _to(f"/lanes/{lane_id}", "cancel")


@routes.post("/lanes/{lane_id}/requeue", Role.WRITE, include_in_schema=False)
def requeue_lane(forge: ForgeDep, who: Who, lane_id: Id, why: Why = "") -> Response:
    """Let a lane run again as another attempt."""
    recovery.requeue_lane(forge, lane_id, Act(who.name, why))
    return _to(f"/lanes/{lane_id}", "requeue")


@routes.post("/lanes/{lane_id}/rerun", Role.WRITE, include_in_schema=False)
def rerun_lane(forge: ForgeDep, who: Who, lane_id: Id, why: Why = "") -> Response:
    """Run a lane again in a run of its own."""
    run = recovery.rerun_lane(forge, lane_id, Act(who.name, why))
    return _to(f"/runs/{run}", "rerun")


@routes.post("/lanes/{lane_id}/wake", Role.WRITE, include_in_schema=False)
def wake_lane(forge: ForgeDep, who: Who, lane_id: Id, why: Why = "") -> Response:
    """Have the queue looked at."""
    recovery.wake_lane(forge, lane_id, Act(who.name, why))
    return _to(f"/lanes/{lane_id}", "wake")


@routes.post("/lanes/{lane_id}/fail", Role.ADMIN, include_in_schema=False)
def fail_lane(forge: ForgeDep, who: Who, lane_id: Id, why: Why = "") -> Response:
    """End a lane as failed."""
    recovery.fail_lane(forge, lane_id, Act(who.name, why))
    return _to(f"/lanes/{lane_id}", "fail")


@routes.post("/runs/{run_id}/cancel", Role.WRITE, include_in_schema=False)
def cancel_run(forge: ForgeDep, who: Who, run_id: Id, why: Why = "") -> Response:
    """Cancel what is not over of a run."""
    recovery.cancel_run(forge, run_id, Act(who.name, why))
    return _to(f"/runs/{run_id}", "cancel")


@routes.post("/runs/{run_id}/rerun", Role.WRITE, include_in_schema=False)
def rerun_run(forge: ForgeDep, who: Who, run_id: Id, why: Why = "") -> Response:
    """Run all lanes of a run again."""
    run = recovery.rerun_run(forge, run_id, Act(who.name, why))
    return _to(f"/runs/{run}", "rerun")


@routes.post("/runs/{run_id}/recover", Role.ADMIN, include_in_schema=False)
def recover_run(forge: ForgeDep, who: Who, run_id: Id, why: Why = "") -> Response:
    """Bring a run to an end that can't end by itself."""
    recovery.recover_run(forge, run_id, Act(who.name, why))
    return _to(f"/runs/{run_id}", "recover")


@routes.post("/queue/pause", Role.ADMIN, include_in_schema=False)
def pause(forge: ForgeDep, who: Who, why: Why = "") -> Response:
    """Let no lane begin."""
    recovery.pause_queue(forge, Act(who.name, why))
    return _to("/queue", "pause")


@routes.post("/queue/resume", Role.ADMIN, include_in_schema=False)
def resume(forge: ForgeDep, who: Who, why: Why = "") -> Response:
    """Let lanes begin again."""
    recovery.resume_queue(forge, Act(who.name, why))
    return _to("/queue", "resume")


@routes.post("/workers/{name}/drain", Role.ADMIN, include_in_schema=False)
def drain(forge: ForgeDep, who: Who, name: Name, why: Why = "") -> Response:
    """Let a worker claim no more."""
    recovery.drain_worker(forge, name, Act(who.name, why))
    return _to("/workers", "drain")


@routes.post("/workers/{name}/resume", Role.ADMIN, include_in_schema=False)
def resume_worker(forge: ForgeDep, who: Who, name: Name, why: Why = "") -> Response:
    """Let a worker claim again."""
    recovery.resume_worker(forge, name, Act(who.name, why))
    return _to("/workers", "resume")


@routes.post("/health/clear", Role.ADMIN, include_in_schema=False)
def clear_health(
    forge: ForgeDep,
    who: Who,
    kind: Annotated[str, Form(max_length=20)],
    name: Annotated[str, Form(max_length=200)],
    repo: Annotated[str, Form(max_length=200)] = "",
    why: Why = "",
) -> Response:
    """Open a target or host that is closed."""
    recovery.clear_health(forge, kind, name, repo or None, Act(who.name, why))
    return _to("/health", "clear")


@routes.post("/admin/tokens", Role.ADMIN, include_in_schema=False)
def add_token(
    request: Request,
    forge: ForgeDep,
    who: Who,
    name: Annotated[str, Form(max_length=100)],
    role: Annotated[str, Form(max_length=10)],
) -> HTMLResponse:
    """Make a token; this page alone has its secret."""
    return page(request, "token", token=recovery.add_token(forge, name, role, who.name))


@routes.post("/admin/tokens/{token_id}/revoke", Role.ADMIN, include_in_schema=False)
def revoke_token(forge: ForgeDep, who: Who, token_id: Id) -> Response:
    """End a token and its sessions."""
    recovery.revoke_token(forge, token_id, who.name)
    return _to("/admin", "revoke")


@routes.post("/branches/{branch_id}/merge", Role.WRITE, include_in_schema=False)
def merge(
    forge: ForgeDep,
    who: Who,
    branch_id: Id,
    why: Why = "",
    force: Annotated[int, Form(ge=0, le=1)] = 0,
) -> Response:
    """Merge a branch if its gate lets it; an admin may force it."""
    if force and who.role < Role.ADMIN:
        raise ApiError(403, "only an admin may force a merge")
    outcome = requests.merge(forge, branch_id, Act(who.name, why), force=bool(force))
    if outcome.run_id is not None:
        return _to(f"/runs/{outcome.run_id}", "waiting")
    return _to(f"/branches/{branch_id}", "merge")


@routes.post("/branches/{branch_id}/close", Role.WRITE, include_in_schema=False)
def close(forge: ForgeDep, who: Who, branch_id: Id, why: Why = "") -> Response:
    """Close a branch."""
    requests.close(forge, branch_id, Act(who.name, why))
    return _to(f"/branches/{branch_id}", "close")


@routes.post("/nightly/run", Role.ADMIN, include_in_schema=False)
def run_nightly(
    forge: ForgeDep, who: Who, repo: Annotated[str, Form(max_length=200)], why: Why = ""
) -> Response:
    """Begin a nightly run now."""
    run = requests.start_nightly(forge, repo, Act(who.name, why))
    return _to(f"/runs/{run}", "nightly")
