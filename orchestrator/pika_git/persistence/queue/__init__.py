"""The queue: which lane runs next, who runs it, and why the others wait.

Consistency model
-----------------

*One transaction a transition.* A writer holds the database alone from its first statement on. So
a lane's state, its reason, its attempt, its lease and the wake for those who may go next change
together or not at all, whoever is killed.

*States.* `queued` -> `running` by a claim; `running` -> `cancelling` by a person or a newer push;
both end in `success`, `failed`, `skipped` or `cancelled` by the worker's report, or go back to
`queued` (infrastructure within its budget, a run that never started). `queued` -> `cancelled` or
`failed` by a person. Nothing leaves a terminal state: a rerun is another lane.

*Tokens.* A claim and an adoption raise the lane's token. Every later write names the token it was
given and changes nothing if the lane has another by now; the result it brought is kept with the
attempt as refused. So a worker that was cut off can't report into an attempt that isn't its own.

*The run's id is in the claim.* It is written before the process is started, and `pikaci` refuses an
id that exists. A worker that dies between the two leaves an id by which the next one finds the run,
or finds that there is none.

*Reasons.* A queued lane has exactly one open reason from the moment it is queued to that of its
claim, and each ends when the next begins: they add up to the wait. `ready` says that a worker may
claim it. It is decided when something changes, for those lanes that the change concerns, so a
claim looks at no lane that waits for something else.

*Groups.* A group of a repository has one holder: a lane that is running or cancelling (a unique
index). It has one lane at the head of its line: the one that was queued first of those that wait
for nothing else (another unique index); only this one is ready. Lanes in cool-off or not yet due
are not in line. The holder gives the group back when its run is known to be gone.

*Order.* A lane older than AGE_BOUND_SECS goes first. Then by class (by hand, branch, nightly), then
by turn, then in the order of queueing. A turn is given when a lane is queued: the next one of its
ref, but not one that has passed. So refs take turns however many lanes each has.

*Time* is the database's clock, read once in a transaction. What time alone changes (`not_before`, a
cool-off, a lease) is looked at by every claim and sweep before anything else.
"""

from __future__ import annotations

from pika_git.persistence.queue.again import (
    cancel_queued,
    recover_run,
    rerun_lane,
    rerun_run,
    supersede,
)
from pika_git.persistence.queue.claim import adoptable, claim, never_started
from pika_git.persistence.queue.ending import (
    cancel_lane,
    cancel_run,
    fail_lane,
    fail_unplanned,
    finish,
    requeue,
)
from pika_git.persistence.queue.entry import enqueue, place, place_all
from pika_git.persistence.queue.lease import renew, started
from pika_git.persistence.queue.model import (
    Claim,
    Ending,
    LaneClass,
    LaneState,
    NewLane,
    Reason,
    RefusedError,
    Renewal,
    Wait,
)
from pika_git.persistence.queue.reasons import waiting
from pika_git.persistence.queue.sweep import next_change, pause, resume, sweep

__all__ = [
    "Claim",
    "Ending",
    "LaneClass",
    "LaneState",
    "NewLane",
    "Reason",
    "RefusedError",
    "Renewal",
    "Wait",
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
    "place",
    "place_all",
    "recover_run",
    "renew",
    "requeue",
    "rerun_lane",
    "rerun_run",
    "resume",
    "started",
    "supersede",
    "sweep",
    "waiting",
]
