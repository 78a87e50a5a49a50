"""A host's capacity, shared by every process that runs jobs under one state root.

Consistency: each claim is a file below `slots/claims` that its holder keeps flock'd, with what it
takes written inside. A claim whose lock is free belongs to a process that died and is removed by
the next one who counts. Counting and claiming happen under `slots/claims.lock`, so two processes
never see room for one job each. No process holds that lock while waiting, and one task of a
process counts for all its waiters.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.state.dataclass import dataclass
from jerichoci.state.lock import lock, try_flock
from jerichoci.state.reading import open_file, parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

POLL_SECS = 0.05
"""Between two looks for room; a job is rarely shorter."""
SLOT_WAIT_SECS = 24 * 3600.0
"""A job that got no room for a day waits for something that will not happen."""
COUNT_WAIT_SECS = 30.0
"""Counting takes microseconds: a process that holds the lock for longer is stopped, or stuck."""
MACOS_VMS = 2
"""Apple's licence lets a Mac run so many copies of macOS beside its own; it starts no more."""

Claim = dict[str, int]
"""What one job takes of a host, by name: `cpus`, `memory_mib`, `macos_vms`."""


@dataclass(frozen=True)
class Resources:
    """What a job asks of a host; None where the job doesn't say."""

    cpus: int | None = None
    memory_mib: int | None = None
    macos_vms: int = 0


@dataclass(frozen=True)
class Capacity:
    """What a host has to give: CPUs, MiB of memory, and to how many jobs at a time."""

    cpus: int
    memory_mib: int
    jobs: int | None = None

    def claim(self, wanted: Resources) -> Claim:
        """What a job takes: one CPU if it doesn't say, and never more than there is."""
        return {
            "cpus": min(wanted.cpus or 1, self.cpus),
            "memory_mib": min(wanted.memory_mib or 0, self.memory_mib),
            "macos_vms": wanted.macos_vms,
        }

    def has_room(self, claim: Claim, taken: Sequence[Claim]) -> bool:
        limits = {"cpus": self.cpus, "memory_mib": self.memory_mib, "macos_vms": MACOS_VMS}
        fits = all(
            sum(other[name] for other in [*taken, claim]) <= most for name, most in limits.items()
        )
        return fits and (self.jobs is None or len(taken) < self.jobs)


def local_capacity() -> Capacity:
    """This machine's CPUs (those this process may use) and memory."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Capacity(cpus=cpus or 1, memory_mib=memory // 2**20)


@asynccontextmanager
async def holding(slots: Path, capacity: Capacity, wanted: Resources) -> AsyncIterator[None]:
    """Hold what a job takes of the host while the block runs; waits until there is room."""
    claim = capacity.claim(wanted)
    try:
        async with asyncio.timeout(SLOT_WAIT_SECS):
            path, fd = await _queue(slots).take(capacity, claim)
    except TimeoutError:
        limit = "" if capacity.jobs is None else f", or already ran {capacity.jobs} jobs,"
        limit += f", or already ran {MACOS_VMS} macOS VMs," if claim["macos_vms"] else ""
        raise InfrastructureError(
            f"the host had no room for {claim['cpus']} CPUs and {claim['memory_mib']} MiB{limit}"
            f" in {SLOT_WAIT_SECS:g} s",
            "ask for less in the job's `resources`, or see what else runs",
        ) from None
    try:
        yield
    finally:
        _let_go(slots, path, fd)


class _Queue:
    """Those of this process who wait for room below `slots`: one looks for all of them."""

    def __init__(self, slots: Path) -> None:
        self._slots = slots
        self._waiting: dict[asyncio.Future[tuple[Path, int]], tuple[Capacity, Claim]] = {}
        self._serving: asyncio.Task[None] | None = None
        self.freed = asyncio.Event()

    async def take(self, capacity: Capacity, claim: Claim) -> tuple[Path, int]:
        """Wait until there is room, and claim it; those who came before are asked before."""
        place: asyncio.Future[tuple[Path, int]] = asyncio.get_running_loop().create_future()
        self._waiting[place] = capacity, claim
        self.freed.set()
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled() and place.exception() is None:
                _let_go(self._slots, *place.result())
            raise
        finally:
            del self._waiting[place]

    async def _serve(self) -> None:
        while self._waiting:
            self.freed.clear()
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                for place in self._waiting:
                    if not place.done():
                        place.set_exception(error)
            # Other processes set no Event.
            with suppress(TimeoutError):
                await asyncio.wait_for(self.freed.wait(), POLL_SECS)
        _QUEUES.pop((asyncio.get_running_loop(), self._slots), None)

    async def _look(self) -> None:
        claims = self._slots / "claims"
        claims.mkdir(mode=0o700, exist_ok=True)
        async with lock(self._slots / "claims.lock", COUNT_WAIT_SECS):
            found = [_live_claim(path) for path in claims.iterdir()]
            taken = [other for other in found if other]
            refused = []
            for place, asked in self._waiting.items():
                capacity, claim = asked
                if len(taken) >= capacity.cpus:  # each takes one at least
                    break
                if place.done() or asked in refused:
                    continue
                if capacity.has_room(claim, taken):
                    place.set_result(_claim(claims, claim))
                    taken.append(claim)
                else:
                    refused.append(asked)


_QUEUES: dict[tuple[asyncio.AbstractEventLoop, Path], _Queue] = {}
"""Those that have waiters."""


def _queue(slots: Path) -> _Queue:
    return _QUEUES.setdefault((asyncio.get_running_loop(), slots), _Queue(slots))


def _claim(claims: Path, claim: Claim) -> tuple[Path, int]:
    path = claims / os.urandom(8).hex()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try_flock(fd)
        os.write(fd, json.dumps(claim).encode())
    except OSError:
        # A full disk: a claim that can't be read would stop everybody who counts.
        path.unlink()
        os.close(fd)
        raise
    return path, fd


def _let_go(slots: Path, path: Path, fd: int) -> None:
    path.unlink(missing_ok=True)
    os.close(fd)
    queue = _QUEUES.get((asyncio.get_running_loop(), slots))
    if queue:
        queue.freed.set()


_ONE_CPU: Claim = {"cpus": 1, "memory_mib": 0, "macos_vms": 0}


def _live_claim(path: Path) -> Claim | None:
    try:
        fd = open_file(path)
    except OSError:
        return None
    try:
        if not try_flock(fd, shared=True):
            return _read_claim(os.pread(fd, 4096, 0))
        path.unlink(missing_ok=True)
        return None
    finally:
        os.close(fd)


def _read_claim(data: bytes) -> Claim:
    """What a claim says, as far as that is known: it is held, and takes a CPU at least."""
    try:
        values = parse(data)
        return {name: int(values.get(name, 0)) for name in _ONE_CPU}
    except (ValueError, TypeError, OverflowError):
        return _ONE_CPU
