"""A forge without a service: its database, a clock, and what the tests put in."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.data import DataDir
from pika_git.persistence import migrate, queue, workers
from pika_git.persistence.database import open_database
from pika_git.persistence.queue import Claim, Ending, LaneClass, LaneState, NewLane

if TYPE_CHECKING:
    from pika_git.persistence.database import Database

MAIN = "refs/heads/main"
PASSED = Ending(LaneState.SUCCESS, None, None, 0)
FAILED = Ending(LaneState.FAILED, "test_failure", {"message": "a test failed"}, 1)
TIMEOUT = Ending(LaneState.FAILED, "timeout", {"message": "it took too long"}, 124)
INFRASTRUCTURE = Ending(LaneState.FAILED, "infrastructure", {"message": "the disk is full"}, 75)
CANCELLED = Ending(LaneState.CANCELLED, None, None, 130)
SKIPPED = Ending(LaneState.SKIPPED, None, None, 0)


@cache
def _migrated() -> bytes:
    """A database without rows: migrating one takes longer than many a test."""
    with tempfile.TemporaryDirectory() as directory:
        data = DataDir(Path(directory)).make()
        database = migrate.open_current(data)
        database.engine.dispose()
        return data.database.read_bytes()


@dataclass
class Forge:
    """`now` is the time of every statement; it moves by `pass_time` alone."""

    database: Database
    now: float = 1_000_000.0
    repos: dict[str, int] = field(default_factory=dict)
    _runs: int = 0

    @classmethod
    def in_directory(cls, directory: Path) -> Forge:
        data = DataDir(directory).make()
        data.database.write_bytes(_migrated())
        forge = cls(open_database(data.database, data.wakes))
        forge.pass_time(0)
        return forge

    def pass_time(self, secs: float) -> None:
        self.now += secs
        self.database = replace(self.database, now=self.now)

    def all(self, query: str, **values: Any) -> list[Any]:  # noqa: ANN401
        with self.database.read() as connection:
            return list(connection.execute(text(query), values).all())

    def one(self, query: str, **values: Any) -> Any:  # noqa: ANN401
        (row,) = self.all(query, **values)
        return row

    def change(self, statement: str, **values: Any) -> Any:  # noqa: ANN401
        with self.database.write() as connection:
            found = connection.execute(text(statement), values)
            return found.scalar_one_or_none() if found.returns_rows else None

    def repo(self, name: str = "demo", *, cancel_superseded: bool = False) -> int:
        if name not in self.repos:
            self.repos[name] = self.change(
                "INSERT INTO repo (name, path, default_branch, run_refs, cancel_superseded,"
                " created_at) VALUES (:name, :name, 'refs/heads/main', '[]', :cancels, 0)"
                " RETURNING id",
                name=name,
                cancels=cancel_superseded,
            )
        return self.repos[name]

    def run(
        self, ref: str = MAIN, *, kind: str = "branch", head: str = "", repo: str = "demo"
    ) -> int:
        self._runs += 1
        return int(
            self.change(
                "INSERT INTO ci_run (repo_id, kind, ref, head, state, created_by, created_at)"
                " VALUES (:repo, :kind, :ref, :head, 'planning', 'push', :now) RETURNING id",
                repo=self.repo(repo),
                kind=kind,
                ref=ref,
                head=head or f"head-{self._runs}",
                now=self.now,
            )
        )

    def enqueue(self, run: int, *lanes: NewLane) -> list[int]:
        with self.database.write() as connection:
            return queue.enqueue(connection, run, lanes, self.now)

    def push(
        self, *lanes: NewLane, ref: str = MAIN, head: str = "", repo: str = "demo"
    ) -> list[int]:
        return self.enqueue(self.run(ref, head=head, repo=repo), *(lanes or (lane(),)))

    def worker(self, name: str = "one", *labels: str, slots: int = 1, host: str = "here") -> int:
        return workers.register(self.database, name, host, frozenset(labels), slots)

    def claim(self, worker: int) -> Claim | None:
        return queue.claim(self.database, worker)

    def take(self, worker: int) -> Claim:
        claim = self.claim(worker)
        assert claim is not None
        return claim

    def finish(self, claim: Claim, ending: Ending = PASSED) -> bool:
        return queue.finish(self.database, claim.lane_id, claim.token, ending)

    def sweep(self) -> None:
        queue.sweep(self.database)

    def lane(self, lane: int) -> Any:  # noqa: ANN401
        return self.one("SELECT * FROM lane WHERE id = :lane", lane=lane)

    def state(self, lane: int) -> str:
        return str(self.lane(lane).state)

    def waits(self, lane: int) -> list[queue.Wait]:
        with self.database.read() as connection:
            return queue.waiting(connection, lane, self.now)

    def reason(self, lane: int) -> str:
        return self.waits(lane)[-1].code

    def counters(self) -> dict[str, int]:
        return {row[0]: row[1] for row in self.all("SELECT name, value FROM counter")}


def lane(
    name: str = "check",
    *,
    target: str = "",
    klass: int = LaneClass.BRANCH,
    group: str | None = None,
    labels: tuple[str, ...] = (),
    not_before: float | None = None,
) -> NewLane:
    return NewLane(
        name=name,
        title=name,
        target=target or name,
        klass=klass,
        group_name=group,
        labels=labels,
        why="always",
        plan_path="plans.json",
        plan_digest="0",
        not_before=not_before,
    )
