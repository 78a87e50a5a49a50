"""The tables, all in one file: they refer to each other, and are read together.

Times are seconds since the epoch. A transition of a lane is one transaction (`queue`). Statuses,
mirrors and reuse get tables of their own when they come; nothing here has to change for them.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

METADATA = MetaData()

LANE_STATES = ("queued", "running", "cancelling", "success", "failed", "skipped", "cancelled")
ACTIVE = text("state IN ('queued', 'running', 'cancelling')")
QUEUED = text("state = 'queued'")
UNKNOWN = text("state NOT IN ('{}')".format("', '".join(LANE_STATES)))
READY = text("ready = 1")
IN_LINE = text("reason = 'blocked_by_concurrency_group'")
NOT_YET = text("reason = 'not_before'")
HEAD_OF_LINE = text("ready = 1 AND group_name IS NOT NULL")
HOLDING = text("state IN ('running', 'cancelling') AND group_name IS NOT NULL")
"""The lanes that hold their concurrency group: until the run is known to be gone."""

REPO = Table(
    "repo",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("path", Text, nullable=False, unique=True),  # the bare repository
    Column("default_branch", Text, nullable=False),  # a full ref
    Column("run_refs", JSON, nullable=False),  # patterns of full refs whose pushes may run
    Column("flake_dir", Text, nullable=False, server_default=""),
    Column("cancel_superseded", Boolean, nullable=False, server_default=text("0")),
    Column("paused", Boolean, nullable=False, server_default=text("0")),
    Column("problem", Text),  # what keeps it from being read
    Column("created_at", Double, nullable=False),
)

REF_EVENT = Table(
    "ref_event",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repo_id", ForeignKey("repo.id"), nullable=False),
    Column("ref", Text, nullable=False),
    Column("sequence", Integer, nullable=False),  # counts the changes of this ref from 1
    Column("place", Integer, nullable=False),  # among those seen at once: pushes take turns
    Column("old", Text),  # null: the ref was created
    Column("new", Text),  # null: the ref was deleted
    Column("pusher", Text),
    Column("seen_at", Double, nullable=False),
    Column("handled_at", Double),  # null: no run was made of it yet
    Column("outcome", Text),  # what was made of it, in words
    # Not (ref, new): A -> B -> A is two changes.
    UniqueConstraint("repo_id", "ref", "sequence"),
)
Index("ref_event_unhandled", REF_EVENT.c.id, sqlite_where=text("handled_at IS NULL"))

PUSH = Table(  # what hooks, webhooks and merges told of, until the refs are looked at
    "push",
    METADATA,
    Column("repo_id", ForeignKey("repo.id"), primary_key=True),
    Column("ref", Text, primary_key=True),  # "": all refs
    Column("new", Text, primary_key=True),  # "": deleted
    Column("pusher", Text),
    Column("at", Double, nullable=False),
)

BRANCH = Table(
    "branch",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repo_id", ForeignKey("repo.id"), nullable=False),
    Column("ref", Text, nullable=False),
    Column("head", Text),  # null: deleted
    Column("state", Text, nullable=False),  # open, merged, closed, deleted
    Column("merge_commit", Text),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    UniqueConstraint("repo_id", "ref"),
)

CI_RUN = Table(
    "ci_run",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repo_id", ForeignKey("repo.id"), nullable=False),
    Column("branch_id", ForeignKey("branch.id")),
    Column("ref_event_id", ForeignKey("ref_event.id"), unique=True),
    Column("kind", Text, nullable=False),  # branch, nightly, manual, merge
    Column("ref", Text, nullable=False),
    Column("head", Text, nullable=False),
    Column("tree", Text),
    Column("base", Text),
    Column("state", Text, nullable=False),  # planning, queued, running, success, failed, ...
    Column("message", Text),  # why there are no lanes, or what planning said
    Column("hint", Text),
    Column("selection", JSON),  # every lane of the head's file: selected or not, and why
    Column("created_by", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("planned_at", Double),
    Column("finished_at", Double),
    Column("rerun_of", ForeignKey("ci_run.id")),
    Column("superseded_by", ForeignKey("ci_run.id")),
    Column("held", Boolean, nullable=False, server_default=text("0")),  # by refs/pikaci/held/ID
)
Index("ci_run_branch", CI_RUN.c.branch_id, CI_RUN.c.id)
Index("ci_run_head", CI_RUN.c.repo_id, CI_RUN.c.head)
Index("ci_run_rerun", CI_RUN.c.rerun_of, sqlite_where=text("rerun_of IS NOT NULL"))
Index("ci_run_tree", CI_RUN.c.repo_id, CI_RUN.c.tree)  # what the merge gate asks for
Index("ci_run_ref", CI_RUN.c.repo_id, CI_RUN.c.ref, CI_RUN.c.kind, CI_RUN.c.id)
Index("ci_run_planning", CI_RUN.c.id, sqlite_where=text("state = 'planning'"))
Index("ci_run_held", CI_RUN.c.id, sqlite_where=text("held = 1"))

MERGE = Table(  # a merge that someone asked for
    "merge",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("branch_id", ForeignKey("branch.id"), nullable=False),
    Column("target_ref", Text, nullable=False),
    Column("target_head", Text, nullable=False),  # what was merged: these two
    Column("head", Text, nullable=False),
    Column("merge_commit", Text, nullable=False),
    Column("run_id", ForeignKey("ci_run.id")),  # lanes that must be green on the merge commit
    Column("state", Text, nullable=False),  # waiting for the run, moving the ref, merged, refused
    Column("message", Text),
    Column("forced", Boolean, nullable=False, server_default=text("0")),
    Column("requested_by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("finished_at", Double),
)
Index(
    "merge_open",
    MERGE.c.branch_id,
    unique=True,
    sqlite_where=text("state IN ('waiting', 'moving')"),
)

LABEL_SET = Table(  # what a lane asks of a worker; few differ
    "label_set",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("labels", Text, nullable=False, unique=True),  # JSON, sorted
)

LANE = Table(
    "lane",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("ci_run.id"), nullable=False),
    Column("repo_id", ForeignKey("repo.id"), nullable=False),
    Column("ref", Text, nullable=False),  # of the run: the round goes over refs
    Column("name", Text, nullable=False),  # its id in ci/forge-lanes.toml
    Column("title", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("class", Integer, nullable=False),  # 0 by hand, 1 branch, 2 nightly: lower goes first
    Column("group_name", Text),
    Column("label_set_id", ForeignKey("label_set.id"), nullable=False),
    Column("required", Boolean, nullable=False, server_default=text("1")),
    Column("why", Text, nullable=False),  # why it was selected
    Column("plan_path", Text),  # the plan set that `pikaci run --plan` takes
    Column("plan_digest", Text),
    Column("state", Text, nullable=False),
    Column("token", Integer, nullable=False, server_default=text("0")),  # fences late writers
    Column("reason", Text),  # why it waits: the code of its open `reason`
    Column("ready", Boolean, nullable=False, server_default=text("0")),  # a worker may claim it
    Column("enqueued_at", Double, nullable=False),
    Column("not_before", Double),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("retries_used", Integer, nullable=False, server_default=text("0")),
    Column("failure_kind", Text),
    Column("cause", JSON),  # phase, code, message, hint: the run record's
    Column("cancel_by", Text),
    Column("cancel_reason", Text),
    Column("rerun_of", ForeignKey("lane.id")),
    UniqueConstraint("run_id", "name"),
    CheckConstraint("state IN ('{}')".format("', '".join(LANE_STATES)), name="lane_state"),
)
Index(  # also counts what lanes wait for, without their rows
    "lane_active",
    *(LANE.c[name] for name in ("state", "enqueued_at", "id", "reason")),
    sqlite_where=ACTIVE,
)
Index("lane_of_run", LANE.c.run_id, LANE.c.state)
Index(
    "lane_ready",
    *(LANE.c[name] for name in ("label_set_id", "class", "repo_id", "ref", "enqueued_at", "id")),
    sqlite_where=READY,
)
Index(  # the whole queue in the order of claims: for pages
    "lane_order",
    *(LANE.c[name] for name in ("class", "enqueued_at", "id")),
    sqlite_where=text("state = 'queued'"),
)
Index("lane_ready_age", LANE.c.label_set_id, LANE.c.enqueued_at, LANE.c.id, sqlite_where=READY)
Index(
    "lane_line",
    *(LANE.c[name] for name in ("repo_id", "group_name", "enqueued_at", "id")),
    sqlite_where=IN_LINE,
)
Index("lane_head", LANE.c.repo_id, LANE.c.group_name, unique=True, sqlite_where=HEAD_OF_LINE)
Index("lane_group", LANE.c.repo_id, LANE.c.group_name, unique=True, sqlite_where=HOLDING)
Index(
    "lane_of_target",
    *(LANE.c[name] for name in ("repo_id", "target", "enqueued_at", "id")),
    sqlite_where=QUEUED,
)
Index("lane_due", LANE.c.not_before, sqlite_where=NOT_YET)
Index("lane_unknown", LANE.c.id, sqlite_where=UNKNOWN)

TURN = Table(  # of a ref: its first ready lane, and when it had its last turn
    "turn",
    METADATA,
    Column("label_set_id", Integer, primary_key=True),
    Column("class", Integer, primary_key=True),
    Column("repo_id", Integer, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("lane_id", Integer),  # null: none is ready
    Column("enqueued_at", Double),
    Column("served", Integer, nullable=False),  # the id of the attempt that was its last turn
)
Index(
    "turn_next",
    *(TURN.c[name] for name in ("label_set_id", "class", "served", "enqueued_at", "lane_id")),
    sqlite_where=text("lane_id IS NOT NULL"),
)
Index("turn_of_lane", TURN.c.lane_id)
Index("turn_of_ref", TURN.c.repo_id, TURN.c.ref)

GROUP_HOLD = Table(  # who held a group, and when: what the waiting were waiting for
    "group_hold",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repo_id", ForeignKey("repo.id"), nullable=False),
    Column("group_name", Text, nullable=False),
    Column("lane_id", ForeignKey("lane.id"), nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double),
)
Index("group_hold_open", GROUP_HOLD.c.lane_id, sqlite_where=text("until IS NULL"))
Index("group_hold_of", GROUP_HOLD.c.repo_id, GROUP_HOLD.c.group_name, GROUP_HOLD.c.since)

ATTEMPT = Table(
    "attempt",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("lane_id", ForeignKey("lane.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("token", Integer, nullable=False),
    Column("pikaci_run_id", Text, nullable=False, unique=True),
    Column("worker_id", ForeignKey("worker.id"), nullable=False),
    Column("host", Text, nullable=False),
    Column("state", Text, nullable=False),  # running, success, failed, skipped, cancelled, lost
    Column("failure_kind", Text),
    Column("cause", JSON),
    Column("exit_code", Integer),
    Column("claimed_at", Double, nullable=False),
    Column("started_at", Double),  # when pikaci had begun
    Column("finished_at", Double),
    Column("refused", Text),  # a result that came late, and why it does not count
    UniqueConstraint("lane_id", "number"),
)
Index("attempt_lost", ATTEMPT.c.host, sqlite_where=text("state = 'lost'"))

REASON = Table(
    "reason",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("lane_id", ForeignKey("lane.id"), nullable=False),
    Column("code", Text, nullable=False),
    Column("detail", JSON, nullable=False),  # what is waited for: holder, host, label, until
    Column("since", Double, nullable=False),
    Column("until", Double),  # null: it still holds
)
Index("reason_lane", REASON.c.lane_id, REASON.c.id)
Index("reason_open", REASON.c.lane_id, unique=True, sqlite_where=text("until IS NULL"))

WORKER = Table(
    "worker",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("host", Text, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("state", Text, nullable=False),  # active, draining, gone
    # whether it drains, also after a restart
    Column("drains", Boolean, nullable=False, server_default=text("0")),
    Column("trouble", Text),  # what keeps it from taking lanes: a full disk
    Column("seen_at", Double, nullable=False),
    Column("started_at", Double, nullable=False),
)

LEASE = Table(  # narrow: it is written every 15 s for each running lane
    "lease",
    METADATA,
    Column("lane_id", ForeignKey("lane.id"), primary_key=True),
    Column("token", Integer, nullable=False),
    Column("worker_id", ForeignKey("worker.id"), nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("progress", Integer, nullable=False, server_default=text("-1")),  # last seq of events
    Column("progress_at", Double, nullable=False),
)

Index("lease_of_worker", LEASE.c.worker_id)
Index("lease_end", LEASE.c.expires_at)

HEALTH = Table(
    "health",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repo_id", ForeignKey("repo.id")),  # null for a host
    Column("kind", Text, nullable=False),  # target, host
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="open"),  # open, closed, trial
    Column("failures", Integer, nullable=False, server_default=text("0")),  # in a row
    Column("cool_off_secs", Double),  # the last one's length
    Column("closed_until", Double),  # null: open; then it is on trial
    Column("probe_lane_id", ForeignKey("lane.id")),  # the one lane that tries it
    Column("failing_targets", JSON, nullable=False, server_default="[]"),  # of a host, in a row
    Column("why", Text),
    Column("updated_at", Double, nullable=False),
)
Index(
    "health_of",
    text("coalesce(repo_id, 0)"),
    HEALTH.c.kind,
    HEALTH.c.name,
    unique=True,
    _table=HEALTH,
)

HEALTH_EVENT = Table(
    "health_event",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("health_id", ForeignKey("health.id"), nullable=False),
    Column("at", Double, nullable=False),
    Column("what", Text, nullable=False),  # failure, closed, trial, probe, opened, cleared
    Column("lane_id", ForeignKey("lane.id")),
    Column("why", Text),
)

Index("health_event_of", HEALTH_EVENT.c.health_id, HEALTH_EVENT.c.id)

NIGHTLY_SLOT = Table(
    "nightly_slot",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repo_id", ForeignKey("repo.id"), nullable=False),
    Column("slot_at", Double, nullable=False),
    Column("state", Text, nullable=False),  # run, missed
    Column("run_id", ForeignKey("ci_run.id")),
    Column("note", Text),
    UniqueConstraint("repo_id", "slot_at"),
)

WAKE = Table(
    "wake",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("why", Text, nullable=False),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),  # `lane 12`, `repo demo`
    Column("why", Text),
    Column("detail", JSON, nullable=False),
)
Index("audit_subject", AUDIT.c.subject)

TOKEN = Table(
    "token",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),  # read, write, admin
    Column("digest", Text, nullable=False, unique=True),  # SHA-256 in hex
    Column("created_at", Double, nullable=False),
    Column("used_at", Double),
    Column("revoked_at", Double),
)

SESSION = Table(
    "session",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("token_id", ForeignKey("token.id"), nullable=False),  # it has this token's role
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)

SETTING = Table(  # of the whole forge: `paused`, `paused_why`
    "setting",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", JSON, nullable=False),
)

COUNTER = Table(  # what the service counts: `lost_wakes`, `refused_results`
    "counter",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Integer, nullable=False),
)
