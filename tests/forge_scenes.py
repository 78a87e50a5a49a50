"""A forge's database and records as days of work leave them, made by the queue's own functions."""

from __future__ import annotations

import fcntl
import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from pika_git.persistence import queue, workers
from pika_git.persistence.migrate import open_current
from pika_git.persistence.queue import Ending, LaneClass, LaneState, NewLane

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BufferedWriter
    from pathlib import Path

    from pika_git.data import DataDir
    from pika_git.persistence.database import Database

HEAD = "9f3c1e7ab24d5068bb1f0c9d7e6a5b4c3d2e1f00"
BASE = "41d0aa7c0e9b8f7a6d5c4b3a291807f6e5d4c3b2"
SELECTION = '[{"id": "site", "selected": false, "reason": "no path that changed"}]'
PHASES = (
    ("prepare_directories", 0.1),
    ("stage_workspace_snapshot", 1.9),
    ("prepare_runtime", 6.0),
    ("launch_guest", 3.0),
    ("wait_for_completion", 0.0),
    ("collect_artifacts", 0.6),
    ("cleanup", 0.4),
)


def lane(name: str, title: str = "", **values: Any) -> NewLane:  # noqa: ANN401 - a lane's fields
    """A lane that any worker may have."""
    given = {
        "target": name,
        "klass": LaneClass.BRANCH,
        "group_name": None,
        "labels": (),
        "why": "src/parse.rs changed, which src/** names",
        "plan_path": "plan.json",
        "plan_digest": "0" * 64,
    }
    return NewLane(name=name, title=title or f"check-{name}", **{**given, **values})


@dataclass(frozen=True)
class Found:
    """What details are made from."""

    database: Database
    data: DataDir


@dataclass
class Scene:
    """One forge, whose time is what the scene says it is."""

    data: DataDir
    now: float = field(default_factory=time.time)
    _locks: list[BufferedWriter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._database = open_current(self.data.make())

    @property
    def database(self) -> Database:
        """The database at the scene's time."""
        return replace(self._database, now=self.now)

    @property
    def source(self) -> Found:
        """What details are made from."""
        return Found(self.database, self.data)

    def close(self) -> None:
        """End the processes of runs that the scene pretends to have."""
        for lock in self._locks:
            lock.close()
        self._database.engine.dispose()

    def execute(self, statement: str, **values: object) -> Any:  # noqa: ANN401 - one value
        """Run a statement; the first value of what it returns."""
        with self.database.write() as connection:
            found = connection.execute(text(statement), values)
            return found.scalar() if found.returns_rows else None

    def repo(self, name: str = "demo", **values: object) -> int:
        """A registered repository."""
        given = {"name": name, "path": f"/srv/git/{name}.git", "now": self.now, "flake": ""}
        return int(
            self.execute(
                "INSERT INTO repo (name, path, default_branch, run_refs, flake_dir, created_at)"
                " VALUES (:name, :path, 'refs/heads/main', '[\"refs/heads/*\"]', :flake, :now)"
                " RETURNING id",
                **{**given, **values},
            )
        )

    def branch(self, repo: int, name: str, head: str = HEAD) -> int:
        """A branch that was pushed now."""
        return int(
            self.execute(
                "INSERT INTO branch (repo_id, ref, head, state, created_at, updated_at)"
                " VALUES (:repo, :ref, :head, 'open', :now, :now) RETURNING id",
                repo=repo,
                ref=f"refs/heads/{name}",
                head=head,
                now=self.now,
            )
        )

    def run(
        self, branch: int | None, lanes: Sequence[NewLane] = (), *, repo: int = 1, **values: object
    ) -> int:
        """A run of a branch, its lanes queued now."""
        given: dict[str, object] = {
            "repo": repo,
            "branch": branch,
            "kind": "branch",
            "head": HEAD,
            "base": BASE,
            "state": "queued",
            "by": "ann",
            "message": None,
            "hint": None,
            "selection": "[]",
            "now": self.now,
            "ref": None,
            "finished_at": None,
            "rerun_of": None,
        }
        run = self.execute(
            "INSERT INTO ci_run (repo_id, branch_id, kind, ref, head, base, state, message, hint,"
            " selection, created_by, created_at, planned_at, finished_at, rerun_of)"
            " VALUES (:repo, :branch, :kind,"
            " coalesce(:ref, (SELECT ref FROM branch WHERE id = :branch), 'refs/heads/main'),"
            " :head, :base, :state, :message, :hint, :selection, :by, :now, :now, :finished_at,"
            " :rerun_of) RETURNING id",
            **{**given, **values},
        )
        if lanes:
            with self.database.write() as connection:
                queue.enqueue(connection, run, lanes, self.now)
        return int(run)

    def worker(self, name: str = "one", host: str = "builder-1", slots: int = 2) -> int:
        """A worker that takes lanes without labels."""
        return workers.register(self.database, name, host, frozenset({"x86_64-linux"}), slots)

    def claim(self, worker: int) -> queue.Claim:
        """The next lane, taken and begun."""
        claim = queue.claim(self.database, worker)
        assert claim is not None
        queue.started(self.database, claim.lane_id, claim.token)
        return claim

    def finish(self, claim: queue.Claim, state: str = "success", **values: Any) -> None:  # noqa: ANN401
        """The lane's run is over."""
        ending = Ending(LaneState(state), **values)
        assert queue.finish(self.database, claim.lane_id, claim.token, ending)

    def record(
        self,
        claim: queue.Claim,
        status: str,
        log: bytes = b"",
        *,
        begun: float,
        secs: float,
        cause: dict[str, Any] | None = None,
        tests: dict[str, Any] | None = None,
        job: str = "test",
    ) -> Path:
        """The run directory of an attempt; one that is `running` has its process."""
        root = self.data.state_root(claim.repo_id) / "runs" / claim.pikaci_run_id
        attempt = root / "jobs" / job / "attempts" / "1"
        attempt.mkdir(parents=True)
        (attempt / "host.log").write_bytes(log)
        kind = {"failed": "test_failure"}.get(status)
        end = None if status == "running" else stamp(begun + secs)
        at, phases = begun + 9.0, []
        for name, lasts in PHASES:
            is_last = status == "running" and name == "wait_for_completion"
            length = secs if name == "wait_for_completion" else lasts
            phases.append(
                {
                    "phase": name,
                    "started_at": stamp(at),
                    "finished_at": None if is_last else stamp(at + length),
                    "duration_ms": None if is_last else int(length * 1000),
                    "outcome": "started"
                    if is_last
                    else "failed"
                    if name == "wait_for_completion" and status == "failed"
                    else "passed",
                }
            )
            at += length
            if is_last:
                break
        of_job = {
            "status": status,
            "failure_kind": kind,
            "cause": cause,
            "finished_at": end,
            "started_at": stamp(begun + 9.0),
            "exit_code": 101 if kind else None,
            "phases": phases,
            "host": claim_host(claim),
            "tests": tests,
        }
        (root / "run.json").write_text(
            json.dumps(
                {
                    "schema_version": 1,
                    "run_id": claim.pikaci_run_id,
                    "status": status,
                    "failure_kind": kind,
                    "cause": cause,
                    "target_id": claim.target,
                    "created_at": stamp(begun),
                    "finished_at": end,
                    "plan_digest": "0" * 64,
                    "system": "x86_64-linux",
                    "tool": {"version": "0.1.0"},
                    "prepare_timings": [
                        {
                            "node_id": "workspace-build-1c90c881",
                            "started_at": stamp(begun + 0.4),
                            "finished_at": stamp(begun + 8.7),
                            "duration_ms": 8300,
                            "cached": False,
                            "outcome": "passed",
                        }
                    ],
                    "jobs": [
                        {
                            "schema_version": 1,
                            "id": job,
                            "placement": "local",
                            "description": "Runs the tests",
                            "runtime": "incus",
                            "plan_node_id": f"execute-{job}",
                            "attempt": 1,
                            "timeout_secs": 1200,
                            **of_job,
                            "attempts": [
                                {
                                    "number": 1,
                                    **of_job,
                                    "host_log_path": f"jobs/{job}/attempts/1/host.log",
                                    "guest_log_path": f"jobs/{job}/attempts/1/guest.log",
                                }
                            ],
                        }
                    ],
                }
            )
        )
        (root / "events.jsonl").write_bytes(b"")
        lock = (root / "owner.lock").open("wb")
        if status == "running":
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._locks.append(lock)
        else:
            lock.close()
        return root


def claim_host(claim: queue.Claim) -> str:
    """The host of a job's record."""
    return f"builder-{claim.repo_id}"


def stamp(at: float) -> str:
    """A time as records have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}Z"


def work(scene: Scene, lanes: int = 6) -> int:
    """A run with lanes that failed, passed, run and wait, and what else pages show."""
    worker = scene.worker(slots=4)
    branch = scene.branch(scene.repo(), "fix/%41-ünïcode <b>")
    names = [
        lane(f"n{number}", group_name="g" if number % 5 == 4 else None) for number in range(lanes)
    ]
    run = scene.run(
        branch, names, selection='[{"id": "x", "selected": false, "reason": "no path"}]'
    )
    for state in ("failed", "success", "running"):
        claim = scene.claim(worker)
        cause = {"code": "command_failed", "message": "exited with 1"}
        status = {"success": "passed"}.get(state, state)
        scene.record(claim, status, b"a <b>\n", begun=scene.now, secs=5)
        scene.now += 20
        if state != "running":
            why = {"failure_kind": "test_failure", "cause": cause} if state == "failed" else {}
            scene.finish(claim, state, **why)
    scene.execute(
        "INSERT INTO audit (at, who, action, subject, why, detail)"
        " VALUES (:now, 'ann', 'rerun', 'run 1', 'flaky', '{}')",
        now=scene.now,
    )
    scene.execute(
        "INSERT INTO nightly_slot (repo_id, slot_at, state, note)"
        " VALUES (1, :now, 'missed', 'off')",
        now=scene.now,
    )
    scene.execute("INSERT INTO counter (name, value) VALUES ('lost_wakes', 3)")
    return run


PATHS = (
    *("/", "/branches/1", "/runs/1", "/lanes/1", "/lanes/2", "/lanes/3", "/lanes/4", "/queue"),
    *("/workers", "/health", "/nightly", "/admin", "/lanes/1/log?job=test&kind=host"),
)
"""The pages of `work`."""
