"""Nightly slots, and what an admin looks at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pika_git.forge_service.cursor import NEWEST, decode, encode
from pika_git.forge_service.forge_model import (
    Admin,
    Nightly,
    NightlySlot,
    RepoLine,
    TokenLine,
)
from pika_git.forge_service.lenient import listing, number, whole, words
from pika_git.forge_service.lines import act, run_line
from pika_git.forge_service.queue_view import MOST_WORKERS, paused_why, worker_line
from pika_git.persistence.views import branches, waiting
from pika_git.persistence.views import forge as view

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pika_git.forge_service.model import RunLine, Source
    from pika_git.persistence.views import Row

SLOTS = 40
ACTS = 50
MOST_REPOS = 500
MOST_TOKENS = 200


def nightly(source: Source, cursor: str | None = None) -> Nightly:
    """Nightly slots, the newest first."""
    found = decode(cursor, 1)
    before = int(found[0]) if found else NEWEST
    with source.database.read() as connection:
        now = source.database.clock(connection)
        rows = view.nightly_slots(connection, before, SLOTS + 1)
        ids = [each for row in rows if (each := whole(row.run_id)) is not None]
        counts = branches.lane_counts(connection, ids)
        runs = {row.id: run_line(row, counts) for row in branches.runs(connection, ids)}
        repos = view.repos(connection, MOST_REPOS)
    slots = tuple(_slot(row, runs) for row in rows[:SLOTS])
    after = encode(slots[-1].id) if rows[SLOTS:] else None
    return Nightly(now, slots, tuple(words(row.name) or "unknown" for row in repos), after)


def admin(source: Source, cursor: str | None = None) -> Admin:
    """Repositories, tokens, workers, counters, and what people did, the newest first."""
    found = decode(cursor, 1)
    before = int(found[0]) if found else NEWEST
    with source.database.read() as connection:
        now = source.database.clock(connection)
        repos = view.repos(connection, MOST_REPOS)
        unhandled = view.unhandled(connection)
        tokens = view.tokens(connection, MOST_TOKENS)
        acts = view.audit(connection, before, ACTS + 1)
        counters = view.counters(connection)
        workers = waiting.workers(connection, MOST_WORKERS)
        paused = paused_why(waiting.setting(connection, "paused"))
    return Admin(
        now=now,
        repos=tuple(repo_line(row, unhandled.get(row.id, 0)) for row in repos),
        tokens=tuple(_token(row) for row in tokens),
        audit=tuple(act(row) for row in acts[:ACTS]),
        counters=tuple(_counters(counters)),
        workers=tuple(worker_line(row, now) for row in workers),
        paused=paused,
        next=encode(acts[ACTS - 1].id) if acts[ACTS:] else None,
    )


def repo_line(row: Row[Any], unhandled: int) -> RepoLine:
    """A repository as its row has it, and whether git could find it."""
    path = words(row.path) or ""
    patterns = tuple(each for each in listing(row.run_refs) if isinstance(each, str))
    error = None
    if not path.startswith("/") or not (Path(path) / "HEAD").is_file():
        error = f"{path or 'its path'} is no bare git repository"
    elif not patterns:
        error = "no ref of it may run: its patterns are empty or damaged"
    else:
        error = words(row.problem)
    return RepoLine(
        id=row.id,
        name=words(row.name) or "unknown",
        path=path,
        default_branch=words(row.default_branch) or "unknown",
        run_refs=patterns,
        paused=bool(row.paused),
        cancel_superseded=bool(row.cancel_superseded),
        unhandled=unhandled,
        error=error,
    )


def _slot(row: Row[Any], runs: dict[int, RunLine]) -> NightlySlot:
    return NightlySlot(
        id=row.id,
        repo=words(row.repo) or "unknown",
        repo_id=whole(row.repo_id),
        slot_at=number(row.slot_at),
        state=words(row.state) or "unknown",
        note=words(row.note),
        run=runs.get(whole(row.run_id) or 0),
    )


def _token(row: Row[Any]) -> TokenLine:
    return TokenLine(
        id=row.id,
        name=words(row.name) or "unknown",
        role=words(row.role) or "unknown",
        created_at=number(row.created_at),
        used_at=number(row.used_at),
        revoked_at=number(row.revoked_at),
    )


def _counters(rows: Iterable[Row[Any]]) -> list[tuple[str, int]]:
    return [(words(row.name) or "unknown", whole(row.value) or 0) for row in rows]
