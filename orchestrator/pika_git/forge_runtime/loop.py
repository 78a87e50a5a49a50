"""The service's loop: it wakes when something happened, and looks at everything now and then.

An error in one repository stops nothing else: it is logged, and the repository shows it. Refs are
read in threads, so that a disk that hangs keeps one repository waiting, and not all.
"""

from __future__ import annotations

import logging
import math
import selectors
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pika_git.forge_runtime import nightly
from pika_git.forge_runtime.holds import release_all
from pika_git.forge_runtime.hook import Pushes
from pika_git.forge_runtime.planning import PLAN_SECS, Planner
from pika_git.forge_runtime.poll import poll
from pika_git.git import GitError, Repository
from pika_git.persistence import queue, refs, repos, wakes
from pika_git.persistence.database import DatabaseError
from pika_git.pikaci_process import Pikaci

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from pika_git.data import DataDir
    from pika_git.persistence.database import Database
    from pika_git.persistence.repos import Repo

POLL_SECS = 5.0
SWEEP_SECS = 30.0
NIGHTLY_SECS = 20.0
HELD_SECS = 5.0
MEMORY_BYTES = 8 * 1024**3
"""What an evaluation may take: of its address space, since that is what can be bounded."""
POLLS_AT_ONCE = 4
log = logging.getLogger("pika_git")


@dataclass
class Runtime:
    """What the service does by itself, in a thread of its own."""

    database: Database
    data: DataDir
    poll_secs: float = POLL_SECS
    plan_secs: float = PLAN_SECS
    memory_bytes: int = MEMORY_BYTES
    also: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    """What else is looked at each time, and what it is called in the log."""
    _at: dict[str, float] = field(default_factory=dict)
    _polls: dict[int, Future[None]] = field(default_factory=dict)
    _stop: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)
    _is_stopping: bool = False
    _said: str = ""

    def stop(self) -> None:
        """Have `run` return."""
        self._is_stopping = True
        with suppress(OSError):  # it has returned
            self._stop[1].send(b".")

    def run(self) -> None:
        """Work until `stop`."""
        with ExitStack() as held:
            for end in self._stop:
                held.callback(end.close)
            log_file = self.data.root / "planner.log"
            pikaci = held.enter_context(
                Pikaci(log_file, _limits(self.memory_bytes, self.plan_secs))
            )
            listener = held.enter_context(wakes.Listener(self.data.wakes, "service"))
            pool = held.enter_context(ThreadPoolExecutor(POLLS_AT_ONCE, "poll"))
            held.enter_context(Pushes(self.data.hook_socket, self._tell))
            planner = Planner(self.database, self.data, pikaci, self.plan_secs)
            while not self._is_stopping:
                self._guard("polls", lambda: self._look(pool))
                self._guard("planning", planner.step)
                for what, work in self.also.items():
                    self._guard(what, work)
                self._now_and_then("held", HELD_SECS, lambda: release_all(self.database))
                self._now_and_then("sweep", SWEEP_SECS, lambda: queue.sweep(self.database))
                self._wait(listener, planner)

    def _tell(self, path: str, pushers: dict[tuple[str, str], str | None]) -> None:
        """Take what a hook said."""
        with self.database.write() as connection:
            repo = repos.at(connection, path)
            if repo is not None:
                now = self.database.clock(connection)
                refs.tell(connection, repo.id, pushers or refs.ALL_REFS, now)

    def _look(self, pool: ThreadPoolExecutor) -> None:
        """Look at the repositories that something was told of, or at all of them if it is time."""
        is_time = self._is_time("poll", self.poll_secs)
        is_night = self._is_time("nightly", NIGHTLY_SECS)
        with self.database.read() as connection:
            every, told = repos.every(connection), refs.told_repos(connection)
        for repo in every:
            before = self._polls.get(repo.id)
            if before is not None and not before.done():
                if repo.id in told:  # what it reads may be older
                    before.add_done_callback(lambda _: wakes.ring(self.data.wakes))
                continue
            if is_time or is_night or repo.id in told:
                self._polls[repo.id] = pool.submit(self._poll, repo, is_night=is_night)

    def _poll(self, repo: Repo, *, is_night: bool) -> None:
        try:
            poll(self.database, repo)
            # A single ref that can't be read is a problem too, and keeps no night from running.
            if is_night and Repository(Path(repo.path)).problem() is None:
                nightly.due(self.database, repo)
        except DatabaseError as error:
            self._say(error)
        except GitError as error:  # the next poll says so, if it lasts
            log.warning("repository %s: %s", repo.name, error)
        except Exception as error:
            log.exception("repository %s failed", repo.name)
            with suppress(DatabaseError), self.database.write() as connection:
                text = f"the forge failed to read it, see its log: {error!r}"
                repos.set_problem(connection, repo.id, text)

    def _wait(self, listener: wakes.Listener, planner: Planner) -> None:
        until = min(self._at.values())
        until = min(until, planner.next_deadline() or until)
        with selectors.DefaultSelector() as selector:
            filenos = (listener.fileno(), self._stop[0].fileno())
            for fileno in (*filenos, *planner.pikaci.filenos):
                selector.register(fileno, selectors.EVENT_READ)
            selector.select(max(0.0, until - time.monotonic()))
        listener.drain()

    def _is_time(self, what: str, secs: float) -> bool:
        now = time.monotonic()
        if now < self._at.get(what, 0.0):
            return False
        self._at[what] = now + secs
        return True

    def _now_and_then(self, what: str, secs: float, work: Callable[[], object]) -> None:
        if self._is_time(what, secs):
            self._guard(what, work)

    def _guard(self, what: str, work: Callable[[], object]) -> None:
        try:
            work()
        except DatabaseError as error:
            self._say(error)
        except Exception:
            log.exception("%s failed", what)

    def _say(self, error: DatabaseError) -> None:
        """Say once what is wrong with the database."""
        if str(error) != self._said:
            log.error("%s; %s", error, error.hint or "it continues by itself")
        self._said = str(error)


def _limits(memory_bytes: int, secs: float) -> tuple[str, ...]:
    """What starts an evaluation with bounded memory and CPU time, where there is such a program.

    The deadline is the planner's; the CPU time ends what outlives a planner that was killed.
    """
    if shutil.which("prlimit") is None:
        log.warning("there is no prlimit: the memory of evaluations is not bounded")
        return ()
    return ("prlimit", f"--as={memory_bytes}", f"--cpu={math.ceil(secs)}", "--core=0", "--")
