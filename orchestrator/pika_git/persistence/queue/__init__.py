"""The queue: which lane runs next, who runs it, and why the others wait.

Consistency model
-----------------

*One transaction a transition.* A writer holds the database alone from its first statement on. So
a lane's state, its reason, its attempt, its lease, its run's state and the wake for those who may
go next change together or not at all, whichever process is killed.

*States.* `queued` -> `running` by a claim; `running` -> `cancelling` by a person or a newer push;
both end in `success`, `failed`, `skipped` or `cancelled` when the run is known to be gone, or go
back to `queued` (infrastructure within its budget, a run that never started). A queued lane that is
cancelled or failed by hand is over at once. A person may queue a lane again that failed, was
cancelled or skipped; it keeps its attempts and its place in the order. A run's state follows from
its lanes.

*Tokens.* A claim, an adoption and giving a lane up raise its token. Every later write names the
token that it was given, and changes nothing if the lane has another by now: what it brought is kept
with the attempt as refused. So a worker that was cut off can't report into an attempt that isn't
its own. The same result twice counts once, so a worker may repeat itself.

*The run's id is in the claim.* It is written before the process is started, and `pikaci` refuses an
id that exists. A worker that dies between the two leaves an id by which the next one finds the run,
or finds that there is none.

*Leases.* A worker renews the leases of its lanes; one that is over takes nothing away from it
until another worker of its host takes the lane over, with its run. Only the host knows whether a
run is gone. So what the queue does by itself is little: LOST_SECS after the lease a lane waits
again, or is cancelled if it was to be; one that holds a group does so until a worker of its host is
back or a person says that the run is gone (by requeueing, failing or, a second time, cancelling the
lane).

*Reasons.* A queued lane has exactly one open reason from the moment it is queued to that of its
claim, and each ends when the next begins: they add up to the wait. What is waited for is decided
when something changes, for those lanes that the change concerns, and only `ready` lanes can be
claimed. So a claim costs the same however many lanes wait for something else. Who held a group is
not copied to all that wait for it: it is in `group_hold`, and `waiting` puts the two together.

*Groups.* A group of a repository has one holder: a lane that is running or cancelling (a unique
index). Of those that wait for nothing else the one that was queued first is the head of its line
(another unique index); only this one is ready, whatever its class. Lanes that are paused, in
cool-off or not yet due are not in line. A lane that was running before it waits again is in line
like any other: it does not wait for itself.

*Order.* A lane older than AGE_BOUND_SECS goes first. Then by class (by hand, branch, nightly).
Then the ref whose last turn is the longest ago of those with a ready lane; a claim is a turn. Then
in the order of queueing. A lane that waits again is as old as before.

*Time* is the database's clock, read once in a transaction. If it was set, or the machine slept, all
leases are given their time once more. What time alone changes (`not_before`, a
cool-off) is looked at by every claim before anything else, and no lane has to wait for a sweep.

*Damaged rows* end that lane alone, as failed by infrastructure.
"""

from __future__ import annotations

from pika_git.persistence.lines.reason import Reason
from pika_git.persistence.queue.again import (
    cancel_queued,
    recover_run,
    rerun_lane,
    rerun_run,
    supersede,
)
from pika_git.persistence.queue.claim import claim
from pika_git.persistence.queue.due import next_change
from pika_git.persistence.queue.ending import finish, never_started, retries
from pika_git.persistence.queue.entry import enqueue
from pika_git.persistence.queue.lease import (
    abandoned,
    adoptable,
    renew,
    started,
    still_runs,
)
from pika_git.persistence.queue.model import (
    Budget,
    Claim,
    Ending,
    LaneClass,
    LaneState,
    NewLane,
    RefusedError,
    Renewal,
    Wait,
)
from pika_git.persistence.queue.operator import (
    cancel_lane,
    cancel_run,
    fail_lane,
    fail_unplanned,
    requeue,
)
from pika_git.persistence.queue.sweep import pause, refresh_reasons, resume, sweep
from pika_git.persistence.queue.waiting import waiting

__all__ = [
    "Budget",
    "Claim",
    "Ending",
    "LaneClass",
    "LaneState",
    "NewLane",
    "Reason",
    "RefusedError",
    "Renewal",
    "Wait",
    "abandoned",
    "adoptable",
    "cancel_lane",
    "cancel_queued",
    "cancel_run",
    "claim",
    "enqueue",
    "fail_lane",
    "fail_unplanned",
    "finish",
    "never_started",
    "next_change",
    "pause",
    "recover_run",
    "refresh_reasons",
    "renew",
    "requeue",
    "rerun_lane",
    "rerun_run",
    "resume",
    "retries",
    "started",
    "still_runs",
    "supersede",
    "sweep",
    "waiting",
]
