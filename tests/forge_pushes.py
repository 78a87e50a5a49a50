"""A forge's ingest over a real bare repository, stepped by hand, and pushes into it by real git."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from e2e.project import Project
from pika_git.data import DataDir
from pika_git.forge_runtime.holds import release_all
from pika_git.forge_runtime.planning import Planner
from pika_git.forge_runtime.poll import poll
from pika_git.forge_runtime.registering import register
from pika_git.git import Repository
from pika_git.persistence import repos
from pika_git.persistence.migrate import open_current
from pika_git.pikaci_process import Pikaci

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Row

    from pika_git.persistence.database import Database
    from usertree import UserTree

MAIN = "refs/heads/main"
TARGETS = """
  unit = { trigger = "branch"; jobs.unit.command = "true"; };
  docs = { trigger = "branch"; jobs.docs.command = "true"; };
  night = { trigger = "nightly"; jobs.night.command = "true"; };
"""
LANES = """
nightly_schedule_utc = "03:00"
[[branch.lanes]]
id = "unit"
target = "unit"
paths = ["src/**", "targets.nix"]
concurrency_group = "linux"
[[branch.lanes]]
id = "docs"
target = "docs"
paths = ["docs/**"]
[[nightly.lanes]]
id = "night"
target = "night"
"""
PLAN_DEADLINE_SECS = 90.0


@dataclass(frozen=True)
class Pushes:
    """A registered bare repository, and a work tree that pushes to it."""

    data: DataDir
    database: Database
    bare: Path
    project: Project
    repo_id: int
    pikaci: Pikaci | None = None
    """What plans; each planner starts one of its own without it."""

    @classmethod
    def below(
        cls,
        directory: Path,
        now: float | None = None,
        pikaci: Pikaci | None = None,
        **settings: Any,  # noqa: ANN401 - those of `register`
    ) -> Pushes:
        """With an empty repository."""
        data = DataDir(directory / "forge").make()
        database = open_current(data, now)
        bare = make_bare(directory / "demo.git")
        project = Project.below(directory)
        project.tree.init()
        repo = register(database, "demo", bare, **settings)
        return cls(data, database, bare, project, repo, pikaci)

    @property
    def tree(self) -> UserTree:
        return self.project.tree

    @property
    def repository(self) -> Repository:
        return Repository(self.bare)

    @property
    def repo(self) -> repos.Repo:
        with self.database.read() as connection:
            found = repos.get(connection, self.repo_id)
        assert found is not None
        return found

    def with_lanes(self, lanes: str = LANES, targets: str = TARGETS) -> Pushes:
        """With a catalog, whose commit `main` has and the forge has seen."""
        self.project.define(targets)
        self.project.lanes(lanes)
        self.tree.write("docs/readme")
        self.commit_file("src/code", "1")
        self.push("HEAD:refs/heads/main")
        return self

    def commit_file(self, name: str, content: str = "", message: str = "change") -> str:
        self.tree.write(name, content)
        return self.tree.commit(message)

    def push(self, *refspecs: str, force: bool = False) -> None:
        """Push by git, as a user does."""
        flags = ["--force"] if force else []
        self.tree.git("push", "--quiet", *flags, str(self.bare), *refspecs)

    def git(self, *args: str, stdin: bytes = b"") -> str:
        """What git prints in the bare repository."""
        argv = ["git", *args]
        done = subprocess.run(argv, cwd=self.bare, input=stdin, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def poll(self) -> int:
        return poll(self.database, self.repo)

    def events(self, ref: str | None = None) -> list[tuple[str, str | None, str | None]]:
        """The changes that were seen: ref, old, new."""
        rows = self.rows("SELECT ref, old, new FROM ref_event ORDER BY id")
        return [(row.ref, row.old, row.new) for row in rows if ref in {None, row.ref}]

    def rows(self, query: str, **values: object) -> list[Row[Any]]:
        with self.database.read() as connection:
            return list(connection.execute(text(query), values).all())

    def runs(self) -> list[Row[Any]]:
        return self.rows("SELECT * FROM ci_run ORDER BY id")

    def lanes(self, run: int | None = None) -> dict[str, str]:
        """The states of a run's lanes, of the latest run's by default."""
        run = run or self.runs()[-1].id
        rows = self.rows("SELECT name, state FROM lane WHERE run_id = :run", run=run)
        return {row.name: row.state for row in rows}

    @contextmanager
    def planner(
        self, secs: float = PLAN_DEADLINE_SECS, limits: tuple[str, ...] = ()
    ) -> Iterator[Planner]:
        if self.pikaci is not None and not limits:
            yield Planner(self.database, self.data, self.pikaci, secs)
            return
        with Pikaci(self.data.root / "planner.log", limits) as pikaci:
            yield Planner(self.database, self.data, pikaci, secs)

    def plan(self, planner: Planner | None = None) -> Row[Any]:
        """Poll, and plan all that waits: the latest run."""
        self.poll()
        if planner is None:
            with self.planner() as own:
                return self.plan(own)
        end = time.monotonic() + PLAN_DEADLINE_SECS
        planner.step()
        while self.rows("SELECT 1 FROM ci_run WHERE state = 'planning'"):
            assert time.monotonic() < end, "planning takes too long"
            time.sleep(0.02)
            planner.step()
        return self.runs()[-1]

    def pushed(self, *refspecs: str, force: bool = False) -> Row[Any]:
        """Push and plan: the run."""
        self.push(*refspecs or ("HEAD:refs/heads/main",), force=force)
        return self.plan()

    def end_lanes(self, run: int, state: str = "success") -> None:
        """Let a run's lanes have come to a verdict, as workers would."""
        with self.database.write() as connection:
            set_lanes = (
                "UPDATE lane SET state = :state, ready = 0, reason = NULL WHERE run_id = :run"
            )
            connection.execute(text(set_lanes), {"state": state, "run": run})
            end = "UPDATE ci_run SET state = :state, finished_at = 1 WHERE id = :run"
            connection.execute(text(end), {"state": state, "run": run})
            connection.execute(text("UPDATE reason SET until = since WHERE until IS NULL"))

    def release(self) -> None:
        release_all(self.database)

    def held(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname)", "refs/pikaci").split()


def make_bare(path: Path) -> Path:
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(path)], check=True)
    return path
