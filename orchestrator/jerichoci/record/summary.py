"""Runs as `list` and `status` show them: read leniently from JSON, without the models' import.

A field that is missing or of the wrong type is None; a record that isn't JSON makes that run
unreadable and no other.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from jerichoci.record.dead import read_current
from jerichoci.state.dataclass import dataclass
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
    tests: str | None = None
    """How many, and what became of them."""
    host: str | None = None
    passed_over: tuple[tuple[str, str], ...] = ()
    """Hosts that could not have it, and why."""


@dataclass(frozen=True)
class RunSummary:
    """The gist of a run record; `unreadable` is why there is none."""

    run_id: str
    status: str | None = None
    failure_kind: str | None = None
    target_id: str | None = None
    created_at: str | None = None
    estimated_ms: int | None = None
    finished_at: str | None = None
    message: str | None = None
    hint: str | None = None
    snapshot_id: str | None = None
    git_head: str | None = None
    git_dirty: bool | None = None
    rerun_of: str | None = None
    batch: str | None = None
    partial: bool = False
    notes: tuple[str, ...] = ()
    jobs: tuple[JobSummary, ...] = ()
    unreadable: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the run is over; false for an unreadable one."""
        return self.status is not None and self.status != Status.RUNNING

    def as_dict(self) -> dict[str, Any]:
        """JSON values for `list --json`."""
        names = (
            *("run_id", "batch", "status", "failure_kind", "target_id", "partial"),
            *("created_at", "finished_at", "message", "unreadable"),
        )
        return {name: getattr(self, name) for name in names}


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
    gist = _gist(RunSummary, values)
    gist |= {"run_id": run_id, "jobs": tuple(_job(job) for job in rows(values, "jobs"))}
    notes = values.get("notes")
    gist["notes"] = tuple(map(str, notes)) if isinstance(notes, list) else ()
    gist["unreadable"] = None if gist.get("status") else "its run.json has no status"
    return RunSummary(**gist)


def _job(values: dict[str, Any]) -> JobSummary:
    gist = {"id": "?", "status": "?", **_gist(JobSummary, values)}
    gist["artifacts"] = tuple(str(row.get("path")) for row in rows(values, "artifacts"))
    gist["tests"] = _tests(values.get("tests"))
    gist["passed_over"] = tuple(
        (str(row.get("host") or "?"), str(row.get("reason") or "?"))
        for row in rows(values, "passed_over")
    )
    return JobSummary(**gist)


def _tests(values: object) -> str | None:
    found = values if isinstance(values, dict) else {}
    names = ("total", "passed", "failed", "errors", "skipped")
    counts = [found.get(name) for name in names]
    if not all(_is("int", count) for count in counts):
        return None
    total, *rest = zip(counts, ("tests", *names[1:]), strict=True)
    parts = [total, *(row for row in rest if row[0])]
    return ", ".join(f"{n} {name.removesuffix('s') if n == 1 else name}" for n, name in parts)


def _gist(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """What a record and its cause have for the fields of `kind`, without values of other types."""
    cause = values.get("cause")
    causes: dict[str, Any] = cause if isinstance(cause, dict) else {}
    found = {**{key: causes.get(key) for key in ("code", "hint", "phase")}, **values}
    if not _is("str", found.get("message")) or not found["message"]:
        found["message"] = causes.get("message")
    kinds = {field.name: str(field.type).removesuffix(" | None") for field in fields(kind)}
    return {name: found[name] for name in kinds if _is(kinds[name], found.get(name))}


def _is(kind: str, value: object) -> bool:
    # The status of a dead run is of an enumeration, which is a str.
    if kind == "str":
        return isinstance(value, str)
    return kind in {"int", "bool"} and type(value).__name__ == kind
