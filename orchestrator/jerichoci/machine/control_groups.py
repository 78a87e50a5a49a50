"""A job's limits: control groups of its own, where this process can make them.

They are made beside or below the group that this process is in (version 1 of control groups: below,
one for each controller; version 2: one, in the nearest group above that gives most of what is asked
to those in it, since a group with processes can't). Who made one holds a lock on its directory:
without that it belongs to a process that died, and goes when the next one is made, or `pikaci reap`
runs.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine import process
from jerichoci.state.dataclass import dataclass
from jerichoci.state.lock import lock_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

PREFIX = "pikaci-"
MIB = 2**20
GONE_SECS, GONE_PAUSE_SECS = 10.0, 0.01
"""For what was killed in a group to be gone, so that the group can be removed."""
PROBE_SECS = 10.0
PERIOD_USECS = 100_000
"""In which a job has its CPUs for as long as its limit says."""
OWN_PROCESSES = 1
"""Of pikaci in a job's group: its first process."""
_ENTER = (
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo 0 >"$1" || exit; shift; n=$((n-1)); done; exec "$@"'
)


@dataclass(frozen=True)
class Limits:
    """CPUs, MiB of memory, processes and threads at once; None where there is no limit."""

    cpus: int | None = None
    memory_mib: int | None = None
    pids: int | None = None

    def settings(self, version: int) -> dict[str, dict[str, str]]:
        """By controller what its files are set to; the first file is the limit itself."""
        found: dict[str, dict[str, str]] = {}
        if self.memory_mib is not None:
            size = str(self.memory_mib * MIB)
            found["memory"] = (
                {"memory.limit_in_bytes": size, "memory.memsw.limit_in_bytes": size}
                if version == 1
                else {"memory.max": size, "memory.swap.max": "0"}
            )
        if self.cpus is not None:
            quota = self.cpus * PERIOD_USECS
            found["cpu"] = (
                {"cpu.cfs_quota_us": str(quota), "cpu.cfs_period_us": str(PERIOD_USECS)}
                if version == 1
                else {"cpu.max": f"{quota} {PERIOD_USECS}"}
            )
        if self.pids is not None:
            found["pids"] = {"pids.max": str(self.pids + OWN_PROCESSES)}
        return found


NO_LIMITS = Limits()
ALL = Limits(cpus=1, memory_mib=64, pids=64)
"""To find out what can be limited."""


@dataclass(frozen=True)
class ControlGroup:
    """A control group, of this version of control groups."""

    path: Path
    version: int

    def counted(self, name: str, word: str) -> bool:
        """Whether a count of events in one of its files is above zero."""
        try:
            words = _words(self.path / name)
        except OSError:
            return False
        return word in words and words[words.index(word) + 1] != "0"


@dataclass(frozen=True)
class JobGroups:
    """The groups of one job, and the controllers that limit it there."""

    groups: tuple[ControlGroup, ...] = ()
    controllers: frozenset[str] = frozenset()

    @property
    def files(self) -> list[str]:
        """Each puts a process into a group that writes `0` to it."""
        return [str(group.path / "cgroup.procs") for group in self.groups]

    def entering(self, argv: Sequence[str]) -> Sequence[str]:
        """The command line that runs a program in them."""
        files = self.files
        if not files:
            return argv
        return ["sh", "-c", _ENTER, "sh", str(len(files)), *files, *argv]

    def has_killed(self) -> bool:
        """Whether the kernel killed anything in them for want of memory."""
        files = {1: "memory.oom_control", 2: "memory.events"}
        return any(group.counted(files[group.version], "oom_kill") for group in self.groups)

    def has_refused(self) -> bool:
        """Whether the kernel refused a process or thread."""
        return any(group.counted("pids.events", "max") for group in self.groups)


@asynccontextmanager
async def limited(limits: Limits) -> AsyncIterator[JobGroups]:
    """Have groups with these limits, as far as there can be any; removed with all in them."""
    with ExitStack() as held:
        made = _made(limits, held)
        try:
            yield made
        finally:
            for group in made.groups:
                await _remove(group.path)


async def what_can_be_limited() -> list[str]:
    """The controllers of groups that can be made and entered, by doing so."""
    async with limited(ALL) as made:
        with suppress(InfrastructureError):
            if (
                made.groups
                and (await process.run(made.entering(["true"]), deadline_secs=PROBE_SECS)).ok
            ):
                return sorted(made.controllers)
    return []


def remove_stale_groups() -> None:
    """Remove the groups of processes that died, and what still runs in them."""
    for controller in ALL.settings(1):
        for place in own_places(controller):
            with suppress(OSError):
                _remove_stale(place.path)


def places(groups: str, mounts: str, controller: str) -> Iterator[ControlGroup]:
    """Groups that others may be made in: by texts of /proc/self/cgroup and /proc/self/mountinfo."""
    mine = {}
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        mine.update(dict.fromkeys(controllers.split(","), path))
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        root, top = fields.split(" ")[3:5]
        kind, _, options = rest.split(" ")[:3]
        is_old = kind == "cgroup" and controller in options.split(",")
        path = mine.get(controller if is_old else "", "/")
        if not (is_old or kind == "cgroup2") or not f"{path}/".startswith(f"{root.rstrip('/')}/"):
            continue
        here = Path(top, path[len(root.rstrip("/")) :].lstrip("/"))
        if is_old:
            yield ControlGroup(here, 1)
            continue
        for directory in (here, *here.parents):
            if directory.is_relative_to(top):
                yield ControlGroup(directory, 2)


def own_places(controller: str) -> list[ControlGroup]:
    """Where this process may make a group for a controller."""
    with suppress(OSError, ValueError):
        groups, mounts = (Path("/proc/self", name).read_text() for name in ("cgroup", "mountinfo"))
        return list(places(groups, mounts, controller))
    return []


def _made(limits: Limits, held: ExitStack) -> JobGroups:
    wanted = set(limits.settings(2))
    groups, controllers = [], set()
    for place, here in _chosen(wanted):
        with suppress(OSError):
            _remove_stale(place.path)
            settings = limits.settings(place.version)
            group, set_ = _make(place, {name: settings[name] for name in here}, held)
            groups.append(group)
            controllers |= set_
    return JobGroups(tuple(groups), frozenset(controllers))


def _chosen(wanted: set[str]) -> Iterator[tuple[ControlGroup, set[str]]]:
    """The places to make groups in, each with the controllers it has of those wanted."""
    new: list[ControlGroup] = []
    left = set(wanted)
    for controller in sorted(wanted):
        found = own_places(controller)
        old = next((place for place in found if place.version == 1), None)
        if old is not None:
            left.discard(controller)
            yield old, {controller}
        new = [place for place in found if place.version != 1] or new
    best: tuple[ControlGroup, set[str]] | None = None
    for place in new:
        with suppress(OSError):
            given = left & set(_words(place.path / "cgroup.subtree_control"))
            if given and (best is None or len(given) > len(best[1])):
                best = place, given
    if best is not None:
        yield best


def _words(path: Path) -> list[str]:
    return path.read_text().split()


def _make(
    place: ControlGroup, settings: dict[str, dict[str, str]], held: ExitStack
) -> tuple[ControlGroup, set[str]]:
    """A group with these settings, and the controllers whose limit the kernel took, if any."""
    path = place.path / f"{PREFIX}{os.urandom(6).hex()}"
    path.mkdir()
    taken = set()
    try:
        held.enter_context(lock_directory(path))  # if another process has it, the group goes
        for controller, files in settings.items():
            for number, (name, value) in enumerate(files.items()):
                with suppress(OSError):  # a kernel that doesn't count it
                    (path / name).write_text(value)
                    if number == 0:
                        taken.add(controller)
    except BaseException:  # nothing may be left of it, whatever ended this
        path.rmdir()
        raise
    return ControlGroup(path, place.version), taken


def _remove_stale(directory: Path) -> None:
    for path in directory.glob(f"{PREFIX}*"):
        with suppress(OSError), lock_directory(path) as is_unused:
            if is_unused:
                _kill(path)
                path.rmdir()


async def _remove(path: Path) -> None:
    """Remove a group when what is in it is gone; one that stays is stale from then on."""
    for _ in range(int(GONE_SECS / GONE_PAUSE_SECS)):
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
            _kill(path)
            await asyncio.sleep(GONE_PAUSE_SECS)
        else:
            return


def _kill(path: Path) -> None:
    for word in _words(path / "cgroup.procs"):
        if word != "0":  # one that this process can't see
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(word), signal.SIGKILL)
