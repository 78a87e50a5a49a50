"""What one `nix build` does, derivation by derivation, from its structured log.

A build that failed is one that Nix counts as failed when it ends. One that ends without being
counted was given up: Nix was interrupted, or something else ended all of Nix's work.
"""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import field
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING

from jerichoci.nix import log
from jerichoci.nix.log import (
    ERROR_LEVEL,
    LogLine,
    Message,
    NixEvent,
    Progress,
    Started,
    Stopped,
)
from jerichoci.nix.realised import NAMED, Activity
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TIMEOUT, SILENCE, LOG_SIZE = "timeout", "max-silent-time", "max-build-log-size"
LIMITS = {TIMEOUT: "s", SILENCE: "s", LOG_SIZE: "bytes"}
"""Nix's settings that end a build, and their units."""

TAIL_LINES = 20

HASH_LENGTH = 33
"""Of the hash in a store path's name, and the dash after it."""

_STORE_NAME = re.compile(r"/[0-9a-z]{32}-\S*")
_LIMIT_SAID = re.compile(r"\btimed out\b.*?\b(\d+) seconds\b|\b(\d+) bytes of log\b")


@dataclass
class Build:
    """A build that Nix was seen to start."""

    drv: str
    began: float
    heard: float
    """When it began or printed a line last."""
    ended: float | None = None
    is_counted: bool = False
    """Whether Nix counted it as failed, or another one that ended at the same time."""
    errors: list[Message] = field(default_factory=list)
    """Nix's errors about its failure."""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    """The last lines of its builder."""

    def take_errors(self, errors: Iterable[Message], outputs: Iterable[str]) -> bool:
        """Take the errors that name the derivation or one of its outputs; whether there are any."""
        names = {PurePath(path).name for path in (self.drv, *outputs)}
        named = [error for error in errors if error.named & names]
        self.errors += [error for error in named if error not in self.errors]
        return bool(named)

    def exceeded(self, limits: Mapping[str, int]) -> tuple[str, int] | None:
        """Which of Nix's limits ended it, and the limit's value.

        Versions of Nix differ in the words. What counts is the limit's number in the errors of the
        build, and how long it ran or was silent, as measured here. A limit that isn't among those
        asked about is another Nix's, which builds for this one: a daemon's, or another machine's.
        """
        end = self.ended or self.began
        lasted = {TIMEOUT: end - self.began, SILENCE: end - self.heard}
        words = _STORE_NAME.sub(" ", "\n".join(error.reason for error in self.errors)).strip()

        def is_it(name: str, limit: int) -> bool:
            if limit <= 0 or lasted.get(name, limit) < limit / 2:
                return False
            return bool(re.search(rf"\b{limit}\b", words)) or (not words and name in lasted)

        for name in LIMITS:
            if is_it(name, limits.get(name, 0)):
                return name, limits[name]
        said = _LIMIT_SAID.search(words)
        if not said:
            return None
        if said[2]:
            return LOG_SIZE, int(said[2])
        value = int(said[1])
        # Nix 2.34 says the same of both. One that was silent all the time is taken for too slow.
        is_silence = "silence" in words or lasted[TIMEOUT] > 2 * value
        name = SILENCE if is_silence else TIMEOUT
        return (name, value) if lasted[name] >= value / 2 else None


def store_names(paths: Iterable[str]) -> tuple[str, ...]:
    """The names of store paths or derivations, without their hashes."""
    names = (PurePath(path).name[HASH_LENGTH:] for path in islice(paths, NAMED))
    return tuple(name.removesuffix(".drv") for name in names)


class Builds:
    """The builds that one `nix build` was seen to start and end, and its errors."""

    def __init__(self, asked: str | None = None) -> None:
        self._ignored = PurePath(asked).name if asked else None
        self._counter: int | None = None
        """What Nix counts builds in, for as long as it does."""
        self._done = self._running = self._failed = self._expected = 0
        self._has_failed = False
        """Whether Nix counted a failure of builds that it has not reported as ended yet."""
        self.running: dict[int, Build] = {}
        self._fetched: dict[int, str] = {}
        """The paths that are being fetched."""
        self.over: list[Build] = []
        self.errors: list[Message] = []

    def note(self, event: NixEvent) -> bool:
        """Take note of an event; whether it means that one more build is done."""
        now = time.monotonic()
        match event:
            case Started():
                self._begin(event, now)
            case LogLine(id, text) if id in self.running:
                self.running[id].heard = now
                self.running[id].tail.append(text)
            case Stopped(id) if id == self._counter:
                self._counter = None
            case Stopped(id) if id in self._fetched:
                del self._fetched[id]
            case Stopped(id) if id in self.running:
                self._end(self.running.pop(id), now)
            case Message(level) if (
                level == ERROR_LEVEL and not event.is_warning and self._ignored not in event.named
            ):
                self.errors.append(event)
                if not event.named and self.over:
                    self.over[-1].errors.append(event)
            case Progress(id, done, running, failed, expected) if id == self._counter:
                self._expected = expected
                # What fails before it was begun isn't a build's failure.
                self._has_failed |= failed > self._failed and running < self._running
                is_more = done > self._done
                self._done, self._running, self._failed = done, running, failed
                return is_more
        return False

    def _begin(self, event: Started, now: float) -> None:
        match event.type:
            case log.BUILD_ACTIVITY:
                self.running[event.id] = Build(event.subject, now, now)
            case log.SUBSTITUTE_ACTIVITY:
                self._fetched[event.id] = event.subject
            case log.BUILDS_ACTIVITY:
                self._counter = event.id

    @property
    def activity(self) -> Activity:
        """What is being done now."""
        drvs = [build.drv for build in self.running.values()]
        return Activity(
            building=store_names(drv for drv in drvs if PurePath(drv).name != self._ignored),
            fetching=store_names(self._fetched.values()),
            built=self._done,
            to_build=max(0, self._expected - (self._ignored is not None)),
        )

    @property
    def is_cut(self) -> bool:
        """Whether Nix reported that it builds, and not that it is done."""
        return self._counter is not None

    def _end(self, build: Build, now: float) -> None:
        # Of several that end at once, any may have failed; not those whose output is there.
        build.ended, build.is_counted = now, self._has_failed
        self._has_failed &= len(self.running) > self._running
        self.over.append(build)
