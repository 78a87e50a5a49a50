"""Rows of runs and branches as lines of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jerichoci import Cause
from pika_git.forge_service.lenient import mapping, number, whole, words
from pika_git.forge_service.model import Act, BranchLine, RunLine
from pika_git.forge_service.sentences import short_ref, summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pika_git.persistence.views import Row

RUN_STATES = {
    *("planning", "queued", "running", "cancelling", "success", "failed", "skipped", "cancelled")
}
NO_LANES = "No lanes were selected: no path that changed is one that a lane asks for."


def run_line(row: Row[Any], counts: Iterable[Row[Any]] = ()) -> RunLine:
    """A run; `counts` are rows of its lanes' states."""
    own = [each for each in counts if each.run_id == row.id]
    numbers = {str(each.state): each.lanes for each in own}
    state = words(row.state) or "unknown"
    problems = [] if state in RUN_STATES else [f"its state is damaged: {row.state!r}"]
    return RunLine(
        id=row.id,
        kind=words(row.kind) or "unknown",
        state=state if state in RUN_STATES else "unknown",
        ref=words(row.ref) or "unknown",
        head=words(row.head) or "",
        created_by=words(row.created_by) or "unknown",
        created_at=number(row.created_at),
        finished_at=number(row.finished_at),
        message=words(row.message),
        hint=words(row.hint),
        rerun_of=whole(row.rerun_of),
        superseded_by=whole(row.superseded_by),
        counts=numbers,
        summary=summary(numbers, {str(each.state): words(each.title) or "" for each in own}),
        problems=tuple(problems),
    )


def branch_line(row: Row[Any], runs: Sequence[RunLine]) -> BranchLine:
    """A branch with its newest run."""
    ref = words(row.ref) or "unknown"
    return BranchLine(
        id=row.id,
        repo_id=whole(row.repo_id),
        repo=words(row.repo) or "unknown",
        ref=ref,
        name=short_ref(ref),
        state=words(row.state) or "unknown",
        head=words(row.head),
        merge_commit=words(row.merge_commit),
        updated_at=number(row.updated_at),
        run=next((each for each in runs if each.id == row.run_id), None),
        is_default=ref == row.default_branch,
    )


def cause(value: object) -> Cause | None:
    """A cause as a column has it."""
    if value is None:
        return None
    return cause_of(mapping(value)) or Cause(
        code="record_damaged", message="the cause was recorded, and its record is damaged"
    )


def cause_of(values: dict[str, Any]) -> Cause | None:
    """A cause as a record has it, None if it says nothing."""
    code, message = words(values.get("code")), words(values.get("message"))
    if not code and not message:
        return None
    return Cause(
        code=code or "unknown",
        message=message or code or "",
        phase=words(values.get("phase")),
        hint=words(values.get("hint")),
    )


def act(row: Row[Any]) -> Act:
    """A line of the audit."""
    return Act(
        id=row.id,
        at=number(row.at),
        who=words(row.who) or "unknown",
        action=words(row.action) or "unknown",
        subject=words(row.subject) or "unknown",
        why=words(row.why),
    )
