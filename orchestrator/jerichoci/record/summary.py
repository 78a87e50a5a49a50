"""Runs as `list` and `status` show them: read leniently from JSON, without the models' import.

A field that is missing or of the wrong type is None; a record that isn't JSON makes that run
unreadable and no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jerichoci.record.dead import read_current
from jerichoci.state.reading import rows
from jerichoci.status import Status

if TYPE_CHECKING:
    from jerichoci.state.layout import RunLayout


@dataclass(frozen=True)
class JobSummary:
    """The gist of a job record."""

    id: str
    status: str
    failure_kind: str | None = None
    message: str | None = None
    hint: str | None = None
    code: str | None = None
    phase: str | None = None
    exit_code: int | None = None
    attempt: int = 0
    started_at: str | None = None
    finished_at: str | None = None
    host_log_path: str | None = None
    guest_log_path: str | None = None
    artifacts: tuple[str, ...] = ()
    host: str | None = None
    passed_over: tuple[tuple[str, str], ...] = ()
    """Hosts that could not have it, and why."""


@dataclass(frozen=True)
class RunSummary:
    """The gist of a run record; `unreadable` says why there is none."""

    run_id: str
    status: str | None = None
    failure_kind: str | None = None
    target_id: str | None = None
    created_at: str | None = None
    finished_at: str | None = None
    message: str | None = None
    hint: str | None = None
    snapshot_id: str | None = None
    git_head: str | None = None
    git_dirty: bool | None = None
    rerun_of: str | None = None
    partial: bool = False
    jobs: tuple[JobSummary, ...] = ()
    unreadable: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the run is over; an unreadable one is not said to be."""
        return self.status is not None and self.status != Status.RUNNING

    def as_dict(self) -> dict[str, Any]:
        """JSON values for `list --json`."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "failure_kind": self.failure_kind,
            "target_id": self.target_id,
            "partial": self.partial,
            "created_at": self.created_at,
            "finished_at": self.finished_at,
            "message": self.message,
            "unreadable": self.unreadable,
        }


def read_summary(run: RunLayout) -> RunSummary:
    """Read a run as it stands; one whose owner died has failed."""
    try:
        return summarise(run.run_id, read_current(run))
    except FileNotFoundError:
        return RunSummary(run_id=run.run_id, unreadable="it has no run.json")
    except (OSError, ValueError) as error:
        return RunSummary(run_id=run.run_id, unreadable=f"its run.json can't be read: {error}")


def summarise(run_id: str, values: dict[str, Any]) -> RunSummary:
    """The gist of a run record's JSON values."""
    cause = _table(values, "cause")
    return RunSummary(
        run_id=run_id,
        status=_text(values, "status"),
        failure_kind=_text(values, "failure_kind"),
        target_id=_text(values, "target_id"),
        created_at=_text(values, "created_at"),
        finished_at=_text(values, "finished_at"),
        message=_text(values, "message") or _text(cause, "message"),
        hint=_text(cause, "hint"),
        snapshot_id=_text(values, "snapshot_id"),
        git_head=_text(values, "git_head"),
        git_dirty=_flag(values, "git_dirty"),
        rerun_of=_text(values, "rerun_of"),
        partial=_flag(values, "partial") or False,
        jobs=tuple(_job(job) for job in rows(values, "jobs")),
        unreadable=None if _text(values, "status") else "its run.json has no status",
    )


def _job(values: dict[str, Any]) -> JobSummary:
    cause = _table(values, "cause")
    return JobSummary(
        id=_text(values, "id") or "?",
        status=_text(values, "status") or "?",
        failure_kind=_text(values, "failure_kind"),
        message=_text(values, "message") or _text(cause, "message"),
        hint=_text(cause, "hint"),
        code=_text(cause, "code"),
        phase=_text(cause, "phase"),
        exit_code=_number(values, "exit_code"),
        attempt=_number(values, "attempt") or 0,
        started_at=_text(values, "started_at"),
        finished_at=_text(values, "finished_at"),
        host_log_path=_text(values, "host_log_path"),
        guest_log_path=_text(values, "guest_log_path"),
        artifacts=tuple(str(row.get("path")) for row in rows(values, "artifacts")),
        host=_text(values, "host"),
        passed_over=tuple(
            (_text(row, "host") or "?", _text(row, "reason") or "?")
            for row in rows(values, "passed_over")
        ),
    )


def _text(values: dict[str, Any], key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) else None


def _number(values: dict[str, Any], key: str) -> int | None:
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _flag(values: dict[str, Any], key: str) -> bool | None:
    value = values.get(key)
    return value if isinstance(value, bool) else None


def _table(values: dict[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}
