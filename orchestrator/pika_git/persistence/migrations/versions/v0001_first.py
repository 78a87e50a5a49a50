"""The first schema, as it was released: a copy that never changes again.

Later changes have steps of their own; `schema.py` has what all of them make together. It is as long
as that one.
"""

from __future__ import annotations

from alembic import op
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

revision = "0001"
down_revision = None

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

REPO = Table(
    "repo",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("path", Text, nullable=False, unique=True),
    Column("default_branch", Text, nullable=False),
    Column("run_refs", JSON, nullable=False),
    Column("flake_dir", Text, nullable=False, server_default=""),
    Column("cancel_superseded", Boolean, nullable=False, server_default=text("0")),
    Column("paused", Boolean, nullable=False, server_default=text("0")),
    Column("problem", Text),
    Column("created_at", Double, nullable=False),
)

REF_EVENT = Table(
    "ref_event",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repo_id", ForeignKey("repo.id"), nullable=False),
    Column("ref", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("place", Integer, nullable=False),
    Column("old", Text),
    Column("new", Text),
    Column("pusher", Text),
    Column("seen_at", Double, nullable=False),
    Column("handled_at", Double),
    Column("outcome", Text),
    UniqueConstraint("repo_id", "ref", "sequence"),
)
Index("ref_event_unhandled", REF_EVENT.c.id, sqlite_where=text("handled_at IS NULL"))

PUSH = Table(
    "push",
    METADATA,
    Column("repo_id", ForeignKey("repo.id"), primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("new", Text, primary_key=True),
    Column("pusher", Text),
    Column("at", Double, nullable=False),
)

BRANCH = Table(
    "branch",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repo_id", ForeignKey("repo.id"), nullable=False),
    Column("ref", Text, nullable=False),
    Column("head", Text),
    Column("state", Text, nullable=False),
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
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("head", Text, nullable=False),
    Column("tree", Text),
    Column("base", Text),
    Column("state", Text, nullable=False),
    Column("message", Text),
    Column("hint", Text),
    Column("selection", JSON),
    Column("created_by", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("planned_at", Double),
    Column("finished_at", Double),
    Column("rerun_of", ForeignKey("ci_run.id")),
    Column("superseded_by", ForeignKey("ci_run.id")),
    Column("held", Boolean, nullable=False, server_default=text("0")),
)
Index("ci_run_branch", CI_RUN.c.branch_id, CI_RUN.c.id)
Index("ci_run_head", CI_RUN.c.repo_id, CI_RUN.c.head)
Index("ci_run_rerun", CI_RUN.c.rerun_of, sqlite_where=text("rerun_of IS NOT NULL"))
Index("ci_run_tree", CI_RUN.c.repo_id, CI_RUN.c.tree)
Index("ci_run_ref", CI_RUN.c.repo_id, CI_RUN.c.ref, CI_RUN.c.kind, CI_RUN.c.id)
Index("ci_run_planning", CI_RUN.c.id, sqlite_where=text("state = 'planning'"))
Index("ci_run_held", CI_RUN.c.id, sqlite_where=text("held = 1"))

MERGE = Table(
    "merge",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("branch_id", ForeignKey("branch.id"), nullable=False),
    Column("target_ref", Text, nullable=False),
    Column("target_head", Text, nullable=False),
    Column("head", Text, nullable=False),
    Column("merge_commit", Text, nullable=False),
    Column("run_id", ForeignKey("ci_run.id")),
    Column("state", Text, nullable=False),
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

LABEL_SET = Table(
    "label_set",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("labels", Text, nullable=False, unique=True),
)

LANE = Table(
    "lane",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("ci_run.id"), nullable=False),
    Column("repo_id", ForeignKey("repo.id"), nullable=False),
    Column("ref", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("class", Integer, nullable=False),
    Column("group_name", Text),
    Column("label_set_id", ForeignKey("label_set.id"), nullable=False),
    Column("required", Boolean, nullable=False, server_default=text("1")),
    Column("why", Text, nullable=False),
    Column("plan_path", Text),
    Column("plan_digest", Text),
    Column("state", Text, nullable=False),
    Column("token", Integer, nullable=False, server_default=text("0")),
    Column("reason", Text),
    Column("ready", Boolean, nullable=False, server_default=text("0")),
    Column("enqueued_at", Double, nullable=False),
    Column("not_before", Double),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("retries_used", Integer, nullable=False, server_default=text("0")),
    Column("failure_kind", Text),
    Column("cause", JSON),
    Column("cancel_by", Text),
    Column("cancel_reason", Text),
    Column("rerun_of", ForeignKey("lane.id")),
    UniqueConstraint("run_id", "name"),
    CheckConstraint("state IN ('{}')".format("', '".join(LANE_STATES)), name="lane_state"),
)
Index(
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
Index(
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

TURN = Table(
    "turn",
    METADATA,
    Column("label_set_id", Integer, primary_key=True),
    Column("class", Integer, primary_key=True),
    Column("repo_id", Integer, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("lane_id", Integer),
    Column("enqueued_at", Double),
    Column("served", Integer, nullable=False),
)
Index(
    "turn_next",
    *(TURN.c[name] for name in ("label_set_id", "class", "served", "enqueued_at", "lane_id")),
    sqlite_where=text("lane_id IS NOT NULL"),
)
Index("turn_of_lane", TURN.c.lane_id)
Index("turn_of_ref", TURN.c.repo_id, TURN.c.ref)

GROUP_HOLD = Table(
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
    Column("state", Text, nullable=False),
    Column("failure_kind", Text),
    Column("cause", JSON),
    Column("exit_code", Integer),
    Column("claimed_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("refused", Text),
    UniqueConstraint("lane_id", "number"),
)
Index("attempt_lost", ATTEMPT.c.host, sqlite_where=text("state = 'lost'"))

REASON = Table(
    "reason",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("lane_id", ForeignKey("lane.id"), nullable=False),
    Column("code", Text, nullable=False),
    Column("detail", JSON, nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double),
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
    Column("state", Text, nullable=False),
    Column("drains", Boolean, nullable=False, server_default=text("0")),
    Column("trouble", Text),
    Column("seen_at", Double, nullable=False),
    Column("started_at", Double, nullable=False),
)

LEASE = Table(
    "lease",
    METADATA,
    Column("lane_id", ForeignKey("lane.id"), primary_key=True),
    Column("token", Integer, nullable=False),
    Column("worker_id", ForeignKey("worker.id"), nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("progress", Integer, nullable=False, server_default=text("-1")),
    Column("progress_at", Double, nullable=False),
)

Index("lease_of_worker", LEASE.c.worker_id)
Index("lease_end", LEASE.c.expires_at)

HEALTH = Table(
    "health",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repo_id", ForeignKey("repo.id")),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="open"),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("cool_off_secs", Double),
    Column("closed_until", Double),
    Column("probe_lane_id", ForeignKey("lane.id")),
    Column("failing_targets", JSON, nullable=False, server_default="[]"),
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
    Column("what", Text, nullable=False),
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
    Column("state", Text, nullable=False),
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
    Column("subject", Text, nullable=False),
    Column("why", Text),
    Column("detail", JSON, nullable=False),
)
Index("audit_subject", AUDIT.c.subject)

TOKEN = Table(
    "token",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("used_at", Double),
    Column("revoked_at", Double),
)

SESSION = Table(
    "session",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("token_id", ForeignKey("token.id"), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)

SETTING = Table(
    "setting",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", JSON, nullable=False),
)

COUNTER = Table(
    "counter",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Integer, nullable=False),
)


def upgrade() -> None:
    """Make all tables."""
    METADATA.create_all(op.get_bind())
