"""A lane from its row, its reasons, its attempts and those who held its group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pika_git.forge_service import sentences
from pika_git.forge_service.lenient import listing, mapping, number, whole, words
from pika_git.forge_service.lines import cause
from pika_git.forge_service.model import Attempt, Lane, Wait
from pika_git.forge_service.sentences import OVER, Hold, Waited, duration, overlap
from pika_git.persistence.queue.model import RETRIES_PER_LANE, LaneState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pika_git.forge_service.model import Act
    from pika_git.persistence.views import Row

SILENT_SECS = 60.0
"""A run without a new event for so long is said to make no progress."""
STATES = set(LaneState)
ATTEMPT_STATES = {*("running", "success", "failed", "skipped", "cancelled", "lost")}


@dataclass(frozen=True)
class Rows:
    """What was read about the lanes of a run."""

    now: float
    run: Row[Any]
    reasons: Sequence[Row[Any]]
    attempts: Sequence[Row[Any]]
    holders: Sequence[Row[Any]]
    places: Mapping[int, int]
    acts: Sequence[Act]

    def holds(self, row: Row[Any]) -> list[Hold]:
        """Who held the group of a lane."""
        return [
            Hold(
                lane_id=whole(each.lane_id),
                run_id=whole(each.run_id),
                ref=words(each.ref) or "unknown",
                name=words(each.name) or "unknown",
                since=number(each.since) or 0.0,
                until=number(each.until),
            )
            for each in self.holders
            if each.repo_id == row.repo_id
            and each.group_name == row.group_name
            and each.lane_id != row.id
        ]


def lane_of(row: Row[Any], found: Rows) -> Lane:
    """A lane as it stands at `found.now`."""
    kept = words(row.state)
    state = kept if kept in STATES else "unknown"
    problems = [] if state == kept else [f"its state is damaged: {row.state!r}"]
    target = words(row.target) or "unknown"
    holds = found.holds(row)
    reasons = [each for each in found.reasons if each.lane_id == row.id]
    waits = tuple(_wait(each, target, found.now, holds) for each in reasons)
    attempts = tuple(attempt_of(each) for each in found.attempts if each.lane_id == row.id)
    problems += [
        f"the record of attempt {each.number} is damaged: its state is {each.state!r}"
        for each in attempts
        if each.state not in ATTEMPT_STATES
    ]
    current = waits[-1] if waits and waits[-1].until is None and state == "queued" else None
    parts = [_waited(each, found.now, holds) for each in reasons]
    silent = _silent(row, found.now) if state in {"running", "cancelling"} else None
    return Lane(
        id=row.id,
        run_id=row.run_id,
        name=words(row.name) or "unknown",
        title=words(row.title) or words(row.name) or "unknown",
        target=target,
        state=state,
        required=bool(row.required),
        why=words(row.why) or "",
        group=words(row.group_name),
        labels=tuple(each for each in listing(row.labels) if isinstance(each, str)),
        sentence="; ".join(
            [
                *_cancelled(row, state),
                *([current.words] if current else []),
                sentences.waited(
                    sum(part.secs for part in parts), parts, is_waiting=state == "queued"
                ),
                *_run_so_far(state, attempts, found.now),
                *([_quiet(row, silent, found.now)] if silent is not None else []),
            ]
        ),
        wait=current,
        place=None if (ahead := found.places.get(row.id)) is None else ahead + 1,
        enqueued_at=number(row.enqueued_at),
        started_at=number(row.started_at),
        finished_at=number(row.finished_at),
        failure_kind=words(row.failure_kind),
        cause=cause(row.cause),
        cancel_by=words(row.cancel_by),
        cancel_reason=words(row.cancel_reason),
        rerun_of=whole(row.rerun_of),
        retries_used=whole(row.retries_used) or 0,
        retries_left=max(0, RETRIES_PER_LANE - (whole(row.retries_used) or 0)),
        silent_secs=silent,
        waits=waits,
        attempts=attempts,
        acts=tuple(each for each in found.acts if each.subject == f"lane {row.id}"),
        problems=tuple(problems),
    )


def attempt_of(row: Row[Any]) -> Attempt:
    """An attempt as its row has it."""
    return Attempt(
        number=whole(row.number) or 0,
        pikaci_run_id=words(row.pikaci_run_id) or "unknown",
        host=words(row.host) or "unknown",
        worker=words(row.worker),
        state=words(row.state) or "unknown",
        failure_kind=words(row.failure_kind),
        cause=cause(row.cause),
        exit_code=whole(row.exit_code),
        claimed_at=number(row.claimed_at),
        started_at=number(row.started_at),
        finished_at=number(row.finished_at),
        refused=words(row.refused),
    )


def _wait(row: Row[Any], target: str, now: float, holds: list[Hold]) -> Wait:
    code, since, until = words(row.code) or "unknown", number(row.since), number(row.until)
    span = (since or 0.0, now if until is None else until)
    during = [each for each in holds if overlap(*span, [each], now)]
    said, ends = sentences.reason(
        code, mapping(row.detail), target, now, during[-1] if during else None
    )
    return Wait(code, said, ends, since, until)


def _waited(row: Row[Any], now: float, holds: list[Hold]) -> Waited:
    code, since, until = words(row.code) or "unknown", number(row.since), number(row.until)
    end = now if until is None else until
    secs = max(0.0, end - (end if since is None else since))
    if code != "blocked_by_concurrency_group":
        return Waited(code, secs)
    times = overlap(end - secs, end, holds, now)
    names = sorted(times, key=lambda name: -times[name])
    return Waited(code, secs, words(mapping(row.detail).get("group")) or "unknown", tuple(names))


def _silent(row: Row[Any], now: float) -> float | None:
    """How long a running lane's run has had no new event, if that is long."""
    at = number(row.progress_at)
    return now - at if at is not None and now - at > SILENT_SECS else None


def _cancelled(row: Row[Any], state: str) -> list[str]:
    if state not in {"cancelling", "cancelled"}:
        return []
    who, why = words(row.cancel_by), words(row.cancel_reason)
    return [f"cancelled by {who or 'unknown'}" + (f" ({why})" if why else "")]


def _run_so_far(state: str, attempts: tuple[Attempt, ...], now: float) -> list[str]:
    if not attempts:
        return []
    said = []
    if state in OVER:
        said.append(f"ran {duration(sum(_ran(each, now) for each in attempts))}")
    elif state in {"running", "cancelling"}:
        said.append(f"running for {duration(_ran(attempts[-1], now))}")
    if len(attempts) > 1:
        said.append(f"{len(attempts)} attempts")
    return said


def _quiet(row: Row[Any], silent: float, now: float) -> str:
    expires = number(row.lease_expires_at)
    if expires is not None and expires <= now:
        return f"its worker has not been heard of for {duration(silent)}"
    return f"alive, no progress for {duration(silent)}"


def _ran(attempt: Attempt, now: float) -> float:
    begun = attempt.started_at or attempt.claimed_at
    end = now if attempt.finished_at is None else attempt.finished_at
    return max(0.0, end - begun) if begun is not None else 0.0
