"""The queue, and the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pika_git.forge_service import sentences
from pika_git.forge_service.cursor import decode, encode
from pika_git.forge_service.forge_model import Queue, RunningLane, WaitingLane, WorkerLine
from pika_git.forge_service.lanes import SILENT_SECS
from pika_git.forge_service.lenient import listing, mapping, number, parsed, whole, words
from pika_git.forge_service.model import Wait
from pika_git.forge_service.sentences import SHORT, Hold
from pika_git.persistence.queue.model import LEASE_SECS
from pika_git.persistence.views import waiting as view

if TYPE_CHECKING:
    from pika_git.forge_service.model import Source
    from pika_git.persistence.database import Connection
    from pika_git.persistence.views import Row

PAGE = 50
MOST_RUNNING = 200
MOST_WORKERS = 200
WORKER_STATES = {"active", "draining", "gone"}
WAITING_FOR = {
    "queued": "for their turn",
    "blocked_by_concurrency_group": "for a concurrency group",
    **SHORT,
}


def queue(source: Source, cursor: str | None = None) -> Queue:
    """What waits, by class and arrival, and what runs; one that isn't a cursor begins anew."""
    found = decode(cursor, 4)
    start = (int(found[0]), found[1], int(found[2])) if found else view.FIRST
    before = int(found[3]) if found else 0
    with source.database.read() as connection:
        now = source.database.clock(connection)
        rows = view.waiting(connection, start, PAGE + 1)
        counts = view.counts(connection)
        running = [_running(row, now) for row in view.running(connection, MOST_RUNNING)]
        workers = _workers(connection, now)
        paused = paused_why(view.setting(connection, "paused"))
    shown = rows[:PAGE]
    last = shown[-1] if rows[PAGE:] else None
    keys = (whole(last.klass), number(last.enqueued_at), last.id, before + PAGE) if last else ()
    sums = [(WAITING_FOR.get(row.code, f"for {row.code}"), int(row.lanes)) for row in counts]
    return Queue(
        now=now,
        total=sum(lanes for _, lanes in sums),
        counts=tuple(sorted(sums, key=lambda each: (-each[1], each[0]))),
        paused=paused,
        running=tuple(running),
        workers=workers,
        waiting=tuple(_waiting(row, before + place, now) for place, row in enumerate(shown, 1)),
        next=encode(*keys) if keys and None not in keys else None,
    )


def workers(source: Source) -> tuple[WorkerLine, ...]:
    """The workers, those that are gone last."""
    with source.database.read() as connection:
        return _workers(connection, source.database.clock(connection))


def clock(source: Source) -> float:
    """The forge's time."""
    with source.database.read() as connection:
        return source.database.clock(connection)


def paused_why(setting: object) -> str | None:
    """Why the forge is paused; None if it isn't."""
    value = parsed(setting)
    if value is None:
        return None if setting is None else "the setting `paused` is damaged"
    return (words(value) or "no reason was given") if value else None


def _workers(connection: Connection, now: float) -> tuple[WorkerLine, ...]:
    return tuple(worker_line(row, now) for row in view.workers(connection, MOST_WORKERS))


def worker_line(row: Row[Any], now: float) -> WorkerLine:
    """A worker as its row has it."""
    state, seen = words(row.state) or "unknown", number(row.seen_at)
    labels = tuple(each for each in listing(row.labels) if isinstance(each, str))
    problems = [] if parsed(row.labels) is not None else ["its labels are damaged"]
    if state not in WORKER_STATES:
        problems.append(f"its state is damaged: {row.state!r}")
    if trouble := words(row.trouble):
        problems.append(f"it takes no lane: {trouble}")
    return WorkerLine(
        id=row.id,
        name=words(row.name) or "unknown",
        host=words(row.host) or "unknown",
        labels=labels,
        slots=whole(row.slots) or 0,
        busy=whole(row.busy) or 0,
        state=state if state in WORKER_STATES else "unknown",
        is_silent=state != "gone" and (seen is None or now - seen > LEASE_SECS),
        seen_at=seen,
        started_at=number(row.started_at),
        problems=tuple(problems),
    )


def _waiting(row: Row[Any], place: int, now: float) -> WaitingLane:
    holder = None
    if row.holder_id is not None and row.holder_id != row.id:
        holder = Hold(
            lane_id=row.holder_id,
            run_id=whole(row.holder_run),
            ref=words(row.holder_ref) or "unknown",
            name=words(row.holder_name) or "unknown",
            since=number(row.holder_since) or 0.0,
            until=None,
        )
    code, target = words(row.code) or "unknown", words(row.target) or "unknown"
    said, ends = sentences.reason(code, mapping(row.detail), target, now, holder)
    return WaitingLane(
        place=place,
        id=row.id,
        run_id=row.run_id,
        repo=words(row.repo) or "unknown",
        ref=words(row.ref) or "unknown",
        name=words(row.name) or "unknown",
        title=words(row.title) or words(row.name) or "unknown",
        enqueued_at=number(row.enqueued_at),
        wait=Wait(code, said, ends, number(row.since), None),
    )


def _running(row: Row[Any], now: float) -> RunningLane:
    progress = number(row.progress_at)
    is_silent = progress is not None and now - progress > SILENT_SECS
    return RunningLane(
        id=row.id,
        run_id=row.run_id,
        repo=words(row.repo) or "unknown",
        ref=words(row.ref) or "unknown",
        name=words(row.name) or "unknown",
        title=words(row.title) or words(row.name) or "unknown",
        state=words(row.state) or "unknown",
        worker=words(row.worker),
        host=words(row.host) or "unknown",
        attempt=whole(row.number) or 0,
        begun_at=number(row.begun_at) or number(row.claimed_at),
        silent_secs=now - progress if is_silent and progress is not None else None,
        group=words(row.group_name),
    )
