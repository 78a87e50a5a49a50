"""Nightly runs: once at the time that the default branch's lanes file says, in UTC.

A slot that was missed is caught up once it can be, the newest only; older ones are noted as missed.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from pika_git.forge_runtime.planning import LANES_FILE
from pika_git.git import Repository, TooLargeError
from pika_git.persistence import nightly, runs

if TYPE_CHECKING:
    from pika_git.persistence.database import Connection, Database
    from pika_git.persistence.repos import Repo

DAY_SECS = 86400
MOST_MISSED = 60
"""How many missed slots are noted one by one after a long time without a service."""
LATE_SECS = 120.0
"""A run that begins later than this after its time was caught up."""
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def schedule(repo: Repo) -> tuple[int, str] | None:
    """When a repository's nightly lanes run: (seconds after midnight UTC, the head)."""
    repository = Repository(Path(repo.path))
    head = repository.commit(repo.default_branch)
    if head is None:
        return None
    try:
        content = repository.file(head, str(Path(repo.flake_dir) / LANES_FILE)) or b""
        values = tomllib.loads(content.decode())
    except (ValueError, TooLargeError):
        return None  # the push of it failed, and said so
    found = _TIME.fullmatch(str(values.get("nightly_schedule_utc", "")))
    has_lanes = isinstance(values.get("nightly"), dict) and values["nightly"].get("lanes")
    return (int(found[1]) * 3600 + int(found[2]) * 60, head) if found and has_lanes else None


def start(connection: Connection, repo: Repo, head: str, by: str, now: float) -> int:
    """Begin a nightly run of a head; its id."""
    return runs.create(
        connection,
        repo=repo.id,
        kind="nightly",
        ref=repo.default_branch,
        head=head,
        by=by,
        now=now,
    )


def due(database: Database, repo: Repo) -> int | None:
    """Begin the nightly run of a repository if its time has come; its id."""
    found = schedule(repo)
    if found is None:
        return None
    after_midnight, head = found
    with database.read() as connection:
        now = database.clock(connection)
        last = nightly.last(connection, repo.id)
    slot = (now - after_midnight) // DAY_SECS * DAY_SECS + after_midnight
    first = repo.created_at if last is None else last
    if slot <= first:
        return None
    with database.write() as connection:
        if nightly.last(connection, repo.id) != last:
            return None
        run = start(connection, repo, head, "the schedule", now)
        late = now - slot
        note = f"caught up {_duration(late)} late" if late > LATE_SECS else None
        nightly.note(connection, repo.id, slot, run, note)
        earliest = max(first, slot - MOST_MISSED * DAY_SECS)
        missed = slot - DAY_SECS
        while missed > earliest:
            nightly.note(connection, repo.id, missed, None, f"run {run} caught up a later one")
            missed -= DAY_SECS
    return run


def _duration(secs: float) -> str:
    minutes = int(secs // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"  # noqa: PLR2004 - two hours
