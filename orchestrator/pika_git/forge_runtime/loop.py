"""The service's loop: it wakes when something happened, and looks at everything now and then.

An error in one repository stops nothing else: it is logged, and the repository shows it.
"""

from __future__ import annotations

import logging
import os
import selectors
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pika_git.forge_runtime import nightly
from pika_git.forge_runtime.holds import release_all
from pika_git.forge_runtime.hook import Pushes
from pika_git.forge_runtime.planning import PLAN_SECS, Planner
from pika_git.forge_runtime.poll import poll
from pika_git.persistence import queue, repos, wakes
from pika_git.pikaci_process import Pikaci

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pika_git.data import DataDir
    from pika_git.persistence.database import Database

POLL_SECS = 5.0
SWEEP_SECS = 30.0
NIGHTLY_SECS = 20.0
MEMORY_BYTES = 8 * 1024**3
"""What an evaluation may take: of its address space, since that is what can be bounded."""
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
    _stop: tuple[int, int] = field(default_factory=os.pipe)
    _is_stopping: bool = False

    def stop(self) -> None:
        """Have `run` return."""
        self._is_stopping = True
        os.write(self._stop[1], b".")

    def run(self) -> None:
        """Work until `stop`."""
        limits = ("prlimit", f"--as={self.memory_bytes}", "--")
        with ExitStack() as held:
            pikaci = held.enter_context(Pikaci(self.data.root / "planner.log", limits))
            listener = held.enter_context(wakes.Listener(self.data.wakes, "service"))
            pushes = held.enter_context(Pushes(self.data.hook_socket))
            planner = Planner(self.database, self.data, pikaci, self.plan_secs)
            pushed: list[str] = []
            while not self._is_stopping:
                self._guard("pushes", lambda: self._look(pushes, pushed))  # noqa: B023
                self._guard("planning", planner.step)
                for what, work in self.also.items():
                    self._guard(what, work)
                self._guard("held heads", lambda: release_all(self.database))
                self._now_and_then("nightly", NIGHTLY_SECS, lambda: nightly.due(self.database))
                self._now_and_then("sweep", SWEEP_SECS, lambda: queue.sweep(self.database))
                pushed = self._wait(listener, pushes, planner)
        for end in self._stop:
            os.close(end)

    def _look(self, pushes: Pushes, pushed: list[str]) -> None:
        """Look at the repositories that were pushed to, or at all of them if it is time."""
        with self.database.read() as connection:
            every = repos.every(connection)
        is_time = self._is_time("poll", self.poll_secs)
        for repo in every:
            if is_time or repo.path in pushed:
                who = pushes.pushers(repo.path)
                self._guard(f"poll of {repo.name}", lambda: poll(self.database, repo, who))  # noqa: B023

    def _wait(self, listener: wakes.Listener, pushes: Pushes, planner: Planner) -> list[str]:
        until = min(self._at.values(), default=time.monotonic() + POLL_SECS)
        until = min(until, planner.next_deadline() or until)
        with selectors.DefaultSelector() as selector:
            filenos = (listener.fileno(), pushes.fileno(), self._stop[0])
            for fileno in (*filenos, *planner.pikaci.filenos):
                selector.register(fileno, selectors.EVENT_READ)
            selector.select(max(0.0, until - time.monotonic()))
        listener.drain()
        return pushes.hear()

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
        except Exception:
            log.exception("%s failed", what)
