"""What is done to lanes and runs."""

from __future__ import annotations

from pika_git.forge_service import recovery
from pika_git.forge_service.recovery import Act
from pika_git.persistence.auth import Principal, Role
from pika_git.web.api.values import Began, Done, Id, Why
from pika_git.web.auth import ForgeDep, Who
from pika_git.web.routes import Routes

routes = Routes("/api/v1", "lanes and runs")


def act(who: Principal, why: Why | None) -> Act:
    """An act of the caller."""
    return Act(who.name, why.why if why else "")


@routes.post("/lanes/{lane_id}/cancel", Role.WRITE)
def cancel_lane(forge: ForgeDep, who: Who, lane_id: Id, why: Why) -> Done:
    """Cancel a lane: at once if it waits, else when its run is gone. Needs `why`."""
    recovery.cancel_lane(forge, lane_id, act(who, why))
    return Done(done=f"lane {lane_id} is cancelled, or will be when its run is gone")


@routes.post("/lanes/{lane_id}/requeue", Role.WRITE)
def requeue_lane(forge: ForgeDep, who: Who, lane_id: Id, why: Why) -> Done:
    """Let a lane run again as another attempt of its own. Needs `why`."""
    recovery.requeue_lane(forge, lane_id, act(who, why))
    return Done(done=f"lane {lane_id} is queued")


@routes.post("/lanes/{lane_id}/rerun", Role.WRITE)
def rerun_lane(forge: ForgeDep, who: Who, lane_id: Id, why: Why | None = None) -> Began:
    """Run a lane again, in a new run that names the old lane."""
    return Began(run_id=recovery.rerun_lane(forge, lane_id, act(who, why)))


@routes.post("/lanes/{lane_id}/wake", Role.WRITE)
def wake_lane(forge: ForgeDep, who: Who, lane_id: Id, why: Why | None = None) -> Done:
    """Have everything that may begin looked at again."""
    recovery.wake_lane(forge, lane_id, act(who, why))
    return Done(done="the queue is looked at")


@routes.post("/lanes/{lane_id}/fail", Role.ADMIN)
def fail_lane(forge: ForgeDep, who: Who, lane_id: Id, why: Why) -> Done:
    """End a lane as failed. Needs `why`."""
    recovery.fail_lane(forge, lane_id, act(who, why))
    return Done(done=f"lane {lane_id} has failed, or will have when its run is gone")


@routes.post("/runs/{run_id}/cancel", Role.WRITE)
def cancel_run(forge: ForgeDep, who: Who, run_id: Id, why: Why) -> Done:
    """Cancel the lanes of a run that are not over. Needs `why`."""
    lanes = recovery.cancel_run(forge, run_id, act(who, why))
    return Done(done=f"{lanes} lane{'' if lanes == 1 else 's'} of run {run_id} cancelled")


@routes.post("/runs/{run_id}/rerun", Role.WRITE)
def rerun_run(forge: ForgeDep, who: Who, run_id: Id, why: Why | None = None) -> Began:
    """Run all lanes of a run again, in a new run that names the old one."""
    return Began(run_id=recovery.rerun_run(forge, run_id, act(who, why)))


@routes.post("/runs/{run_id}/recover", Role.ADMIN)
def recover_run(forge: ForgeDep, who: Who, run_id: Id, why: Why) -> Done:
    """Bring a run on that is stuck: a lane whose worker is gone waits again. Needs `why`."""
    lanes = recovery.recover_run(forge, run_id, act(who, why))
    return Done(done=f"{lanes} lane{'' if lanes == 1 else 's'} of run {run_id} wait again or ended")
