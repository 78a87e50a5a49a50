"""A forge without its service: a database, a repository with a plan set, workers to start."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from e2e.project import REPOSITORY, Project, processes, wait_for
from pika_git.data import DataDir
from pika_git.persistence import queue
from pika_git.persistence.migrate import open_current
from pika_git.persistence.queue import NewLane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pika_git.persistence.database import Database

IMPATIENT = """
from pika_git.__main__ import main
from pika_git.persistence import database
from pika_git.worker import worker
database.BUSY_SECS = 2.0
worker.IDLE_SECS = {idle_secs}
main()
"""
"""`pika-git` that waits for a locked database for less time."""
LABELS: tuple[str, ...] = ()
MARK = "FORGE_OF_TEST"
"""A variable that everything a worker starts inherits."""
REF = "refs/heads/main"
TARGETS = """
  pass.jobs.only.command = "exec -a @marker@ true";
  warm.jobs.only = { caches.own.path = "~/own"; command = "date +%s%N >~/own/word"; };
  fail.jobs.only.command = "exit 3";
  secret.jobs.only = {
    command = "test -r $PIKACI_SECRET_TOKEN && cat $PIKACI_SECRET_TOKEN";
    secrets.TOKEN = { env = "TOKEN_OF_MAIN"; branches = [ "main" ]; };
  };
  slow.jobs.only.command = "echo begun; exec -a @marker@ cat @fifo@";
  deaf.jobs.only.command = "trap '' TERM INT; exec -a @marker@ cat @fifo@";
"""


@dataclass
class Forge:
    """A data directory with one repository, which has one commit and its plan set."""

    data: DataDir
    database: Database
    project: Project
    fifo: Path
    plans: Path
    head: str
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    idle_secs: float = 1.0
    """How often a worker looks though it hears nothing."""
    _runs: int = 0

    @classmethod
    def below(cls, directory: Path) -> Forge:
        """With targets `pass`, `warm`, `fail`, `secret`, `slow`, `deaf`; two read a FIFO."""
        data = DataDir(directory / "data").make()
        fifo = directory / "fifo"
        os.mkfifo(fifo)
        (directory / "project").mkdir()
        project = Project.committed(directory / "project", TARGETS.replace("@fifo@", str(fifo)))
        bare = directory / "bare.git"
        project.tree.git("clone", "--quiet", "--bare", str(project.root), str(bare))
        head = project.tree.git("rev-parse", "HEAD").decode().strip()
        state = data.state_root(1)
        source = f"git+file://{bare}?rev={head}"
        planned = project.with_env(PIKACI_STATE_ROOT=str(state)).pikaci(
            *("plan", "pass", "warm", "fail", "secret", "slow", "deaf"),
            *("--set", "--source", source),
        )
        plans = data.plans(1, 1)
        plans.parent.mkdir(parents=True)
        plans.write_text(planned.passed().out)
        database = open_current(data)
        with database.write() as connection:
            connection.execute(
                text("""
                    INSERT INTO repo (id, name, path, default_branch, run_refs, created_at)
                    VALUES (1, 'demo', :path, :ref, '[]', 0)
                """),
                {"path": str(bare), "ref": REF},
            )
        return cls(data, database, project, fifo, plans, head)

    def emptied(self, like: Path) -> Forge:
        """With the database `like`, and without runs and workers."""
        self.started.clear()
        self.database.engine.dispose()
        for path in (*self.data.root.glob("forge.db*"), *self.data.root.glob("*.err")):
            path.unlink()
        for path in (self.data.state_root(1) / "runs", self.data.worker("w")):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copy(like, self.data.database)
        return self

    def copy_database(self, path: Path) -> Path:
        """A copy of the database."""
        with closing(sqlite3.connect(self.data.database)) as connection:
            connection.execute("VACUUM INTO ?", (str(path),))
        return path

    def queue(self, *targets: str, group: str | None = None, ref: str = REF) -> list[int]:
        """Queue a run of a ref with a lane for each target; the lanes."""
        with self.database.write() as connection:
            now = self.database.clock(connection)
            run = connection.execute(
                text("""
                    INSERT INTO ci_run (repo_id, kind, ref, head, state, created_by, created_at)
                    VALUES (1, 'branch', :ref, :head, 'queued', 'tester', :now) RETURNING id
                """),
                {"ref": ref, "head": self.head, "now": now},
            ).scalar_one()
            lanes = [
                NewLane(
                    name=f"lane-{number}",
                    title=target,
                    target=target,
                    klass=1,
                    group_name=group,
                    labels=LABELS,
                    why="always",
                    plan_path=str(self.plans),
                    plan_digest=None,
                )
                for number, target in enumerate(targets)
            ]
            return queue.enqueue(connection, run, lanes, now)

    def lane(self, lane: int) -> Any:  # noqa: ANN401 - a row
        """The lane's row."""
        return self._row("SELECT * FROM lane WHERE id = :lane", lane)

    def attempts(self, lane: int) -> list[Any]:
        """The lane's attempts, in order."""
        with self.database.read() as connection:
            query = text("SELECT * FROM attempt WHERE lane_id = :lane ORDER BY number")
            return list(connection.execute(query, {"lane": lane}).all())

    def state(self, lane: int) -> str:
        found: str = self.lane(lane).state
        return found

    def run_dir(self, lane: int) -> Path:
        name: str = self.attempts(lane)[-1].pikaci_run_id
        return self.data.state_root(1) / "runs" / name

    def events(self, lane: int) -> list[str]:
        """The names of the events of the lane's last run."""
        path = self.run_dir(lane) / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["event"] for line in lines]

    def owner(self, lane: int) -> int:
        """The process that has the lane's run."""
        pid: int = json.loads((self.run_dir(lane) / "owner.lock").read_bytes())["pid"]
        return pid

    def _row(self, query: str, lane: int) -> Any:  # noqa: ANN401 - a row
        with self.database.read() as connection:
            return connection.execute(text(query), {"lane": lane}).one()

    def until(self, lane: int, *states: str, secs: float = 60.0) -> None:
        """Wait for the lane to be in one of these states."""
        wait_for(lambda: self.state(lane) in states, secs)

    def until_reading(self, lane: int, secs: float = 60.0) -> None:
        """Wait for the lane's job to run, which reads the FIFO."""
        self.until(lane, "running", secs=secs)
        wait_for(self.readers, secs)

    def readers(self) -> list[str]:
        """The jobs that read the FIFO."""
        found = processes(self.project.marker)
        return [line for line in found if line.split()[1] == self.project.marker]

    def let_go(self) -> None:
        """End the jobs that read the FIFO."""
        wait_for(self._write)

    def _write(self) -> bool:
        try:
            fd = os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        os.close(fd)
        return True

    def worker(self, *options: str, name: str = "w", slots: int = 2) -> subprocess.Popen[bytes]:
        """Start a worker; `ending_all` ends it."""
        where = ("--data", str(self.data.root), "--name", name)
        return self._start(name, "worker", *where, "--slots", str(slots), *options)

    def service(self) -> subprocess.Popen[bytes]:
        """Start the service, and wait until it answers."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        where = ("--data", str(self.data.root), "--listen", address)
        process = self._start("service", "serve", *where)
        wait_for(lambda: _answers(address) or process.poll() is not None)
        assert process.poll() is None, self.said("service")
        return process

    def _start(self, name: str, *args: str) -> subprocess.Popen[bytes]:
        with (self.data.root / f"{name}.err").open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", IMPATIENT.format(idle_secs=self.idle_secs), *args],
                env=self.env(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
        self.started.append(process)
        return process

    def env(self) -> dict[str, str]:
        env = self.project.env()
        del env["PIKACI_STATE_ROOT"]
        path = f"{REPOSITORY / '.venv/bin'}{os.pathsep}{env['PATH']}"
        return env | {"PATH": path, MARK: self.project.token}

    def said(self, name: str = "w") -> str:
        """What a worker printed."""
        return (self.data.root / f"{name}.err").read_text()

    def serve_pid(self, worker: subprocess.Popen[bytes]) -> int:
        """The worker's `pikaci serve`."""
        found = wait_for(lambda: _child(worker.pid, "serve"))
        assert found is not None
        return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Another program has the database to itself meanwhile."""
        with closing(sqlite3.connect(self.data.database, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")

    @contextmanager
    def no_run_begins(self) -> Iterator[None]:
        """No run's directory gets its name meanwhile."""
        path = self.data.state_root(1) / "slots" / "runs.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def pikacis(self) -> list[int]:
        """The processes that servers made, or that are a `pikaci` without one; those that run."""
        lines = [line.split(None, 1) for line in _with(f"{MARK}={self.project.token}")]
        pids = [int(pid) for pid, line in lines if "pikaci" in line]
        return [pid for pid in pids if os.getsid(pid) == pid and pid not in self._servers()]

    def _servers(self) -> set[int | None]:
        workers = {process.pid for process in self.started if process.poll() is None}
        return {_child(pid, "serve") for pid in workers}

    def processes(self) -> list[str]:
        """What lives of this forge: workers, all that they started, and jobs' commands."""
        return [*processes(self.project.marker), *_with(f"{MARK}={self.project.token}")]

    def is_quiet(self) -> bool:
        """Whether no job and no `pikaci` lives but the servers of living workers."""
        workers = {process.pid for process in self.started if process.poll() is None}
        pids = {int(line.split()[0]) for line in self.processes()}
        return pids <= workers | self._servers()

    def until_quiet(self, secs: float = 60.0) -> None:
        """Wait until it is."""
        with suppress(AssertionError):
            wait_for(self.is_quiet, secs)
        assert self.is_quiet(), (self.processes(), self._servers(), self.said())

    @contextmanager
    def ending_all(self) -> Iterator[None]:
        """End the workers and what they started, whatever happens."""
        try:
            yield
        finally:
            for process in self.started:
                process.kill()
                process.wait()
            while left := self.processes():
                for line in left:
                    with suppress(ProcessLookupError):
                        os.kill(int(line.split()[0]), signal.SIGKILL)
            self.database.engine.dispose()


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port))).close()
    except ConnectionRefusedError:
        return False
    return True


def _with(setting: str) -> list[str]:
    """The processes that were started with this setting in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if setting.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()!r}")
    return found


def _child(parent: int, word: str) -> int | None:
    for children in Path(f"/proc/{parent}/task").glob("*/children"):  # a thread has its own
        with suppress(OSError):  # one that has ended
            for pid in children.read_text().split():
                if word in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
                    return int(pid)
    return None
