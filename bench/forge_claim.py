"""Queues of the forge that are as long as asked for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pika_git.persistence import queue, repos, runs, workers
from pika_git.persistence.database import open_database
from pika_git.persistence.migrate import upgrade
from pika_git.persistence.queue import LaneClass, NewLane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pika_git.persistence.database import Database

BRANCHES = 20
LABELS = ("x86_64-linux",)


def fill(path: Path, count: int) -> Database:
    """Queue so many lanes, of some branches of one repository."""
    upgrade(path)
    database = open_database(path)
    with database.write() as connection:
        now = database.clock(connection)
        name = f"queue-{count}"
        repo = repos.add(
            connection,
            name=name,
            path=f"/{name}",
            default_branch="refs/heads/main",
            heads={},
            now=now,
        )
        for branch in range(BRANCHES):
            run = runs.create(
                connection,
                repo=repo,
                kind="branch",
                ref=f"refs/heads/b{branch}",
                head="0" * 40,
                by="bench",
                now=now,
            )
            lanes = [
                NewLane(f"lane-{number}", "lane", "t", LaneClass.BRANCH, None, LABELS, "", "p", "d")
                for number in range(count // BRANCHES)
            ]
            queue.enqueue(connection, run, lanes, now)
    return database


@contextmanager
def claiming(path: Path, count: int) -> Iterator[Callable[[], None]]:
    """What claims one of so many lanes."""
    database = fill(path, count)
    worker = workers.register(database, "local", "here", frozenset(LABELS), count)

    def claim() -> None:
        if queue.claim(database, worker) is None:
            raise SystemExit("nothing was claimed")

    try:
        yield claim
    finally:
        database.engine.dispose()
