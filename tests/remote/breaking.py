"""Doing something to a host, or to the way to it, when a run has come so far; and what is left."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jerichoci.record.event import EventBase, JobPhase, RunFinished
from jerichoci.remote import attachment, session
from jerichoci.remote.ssh import settings
from jerichoci.status import Outcome, PhaseName, Status
from remote.machine import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from remote.far_host import FarHost
    from runner import Ended

PHASES = [phase for phase in PhaseName if phase is not PhaseName.PREPARE_DIRECTORIES]
"""Those in which a host has something to do."""
COMMAND = "for i in $(seq 20); do echo row $i; sleep 0.1; done; echo left > $PIKACI_ARTIFACTS/out"
GONE_SECS = 60
"""For an agent that hears nothing to end, and for all that it holds to go."""


class AtPhase:
    """A sink that does something once, when a job begins a phase."""

    def __init__(self, phase: PhaseName, act: Callable[[], object], job: str | None = None) -> None:
        self._phase = phase
        self._job = job
        self._act = act
        self.times = 0

    def emit(self, event: EventBase) -> None:
        if not isinstance(event, JobPhase) or event.phase is not self._phase:
            return
        if (
            self._job in {None, event.job_id}
            and event.outcome is Outcome.STARTED
            and not self.times
        ):
            self.times += 1
            self._act()


class AtEnd:
    """A sink that does something when a run has its record, and has yet to leave its hosts."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def emit(self, event: EventBase) -> None:
        if isinstance(event, RunFinished):
            self._act()


@contextmanager
def cable_cut_for(host: FarHost, secs: float) -> Iterator[Callable[[], None]]:
    """What cuts a host's cable, which is joined `secs` later, or when the block ends."""
    timers: list[threading.Timer] = []

    def cut() -> None:
        host.cut()
        timers.append(threading.Timer(secs, host.join))
        timers[-1].start()

    try:
        yield cut
    finally:
        for timer in timers:
            timer.cancel()
            timer.join()
        host.join()


def make_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have broken lines noticed, and agents give up, within seconds."""
    monkeypatch.setattr(settings, "KEEPALIVE_SECS", 0.5)
    monkeypatch.setattr(session, "PING_SECS", 1.0)
    monkeypatch.setattr(attachment, "AGENT_MARGIN_SECS", 3.0)


def went_on(ended: Ended, host: FarHost, attempt: int = 1) -> None:
    """All that COMMAND prints and leaves is here, and nothing is there."""
    assert ended.record.status is Status.PASSED, ended.log("job")
    assert ended.said("job", attempt) == [f"row {number}" for number in range(1, 21)]
    assert [row.path for row in ended.job("job").artifacts] == ["out"]
    nothing_is_left_on(host)


def left_on(host: FarHost) -> dict[str, list[str]]:
    """What is on a host that no run should leave there."""
    found = {"processes": host.processes()}
    for name in ("runs", "sessions", "slots/claims"):
        directory = host.work_dir / name
        found[name] = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    return {name: rows for name, rows in found.items() if rows}


def nothing_is_left_on(host: FarHost) -> None:
    """Wait until it is so."""
    with suppress(AssertionError):
        wait_for(lambda: not left_on(host), GONE_SECS, "")
    if left := left_on(host):
        raise AssertionError(left)
