"""A job's limit of memory: a control group of its own, where this process can make one.

It is made beside or below the group that this process is in (version 1 of control groups: below;
version 2: in the nearest one above that gives memory to those in it, since a group with processes
can't). Who made one holds a lock on its directory: without that it belongs to a process that died,
and goes when the next one is made, or `pikaci reap` runs.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import InfrastructureError
from jerichoci.machine import process
from jerichoci.state.lock import lock_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

PREFIX = "pikaci-"
MIB = 2**20
GONE_SECS, GONE_PAUSE_SECS = 10.0, 0.01
"""For what was killed in a group to be gone, so that the group can be removed."""
PROBE_SECS = 10.0
PROBE_MIB = 64
_ENTER = 'echo 0 >"$1" && shift && exec "$@"'


@dataclass(frozen=True)
class MemoryGroup:
    """A control group, of this version of control groups."""

    path: Path
    version: int

    @property
    def files(self) -> tuple[str, str, str]:
        """A group's limit, that of memory and swap or of swap, and its count of what was killed."""
        if self.version == 1:
            return "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"
        return "memory.max", "memory.swap.max", "memory.events"

    def entering(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs a program in it."""
        return ["sh", "-c", _ENTER, "sh", str(self.path / "cgroup.procs"), *argv]

    def has_killed(self) -> bool:
        """Whether the kernel killed anything in it for want of memory."""
        try:
            words = _words(self.path / self.files[2])
        except OSError:
            return False
        return "oom_kill" in words and words[words.index("oom_kill") + 1] != "0"


@asynccontextmanager
async def limited(mib: int | None) -> AsyncIterator[MemoryGroup | None]:
    """Have a group with that limit, which is removed with all in it; None where there can be none.

    Whether there can is found out by `can_limit`.
    """
    with ExitStack() as held:
        group = _made(mib, held) if mib else None
        try:
            yield group
        finally:
            if group is not None:
                await _remove(group.path)


async def can_limit() -> bool:
    """Whether groups can be made and entered, by doing so."""
    async with limited(PROBE_MIB) as group:
        if group is None:
            return False
        with suppress(InfrastructureError):
            return (await process.run(group.entering(["true"]), deadline_secs=PROBE_SECS)).ok
    return False


def remove_stale_groups() -> None:
    """Remove the groups of processes that died, and what still runs in them."""
    for place in _own_places():
        with suppress(OSError):
            _remove_stale(place.path)


def places(groups: str, mounts: str) -> Iterator[MemoryGroup]:
    """Groups that others may be made in: by texts of /proc/self/cgroup and /proc/self/mountinfo."""
    mine = {}
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        mine.update(dict.fromkeys(controllers.split(","), path))
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        root, top = fields.split(" ")[3:5]
        kind, _, options = rest.split(" ")[:3]
        is_old = kind == "cgroup" and "memory" in options.split(",")
        path = mine.get("memory" if is_old else "", "/")
        if not (is_old or kind == "cgroup2") or not f"{path}/".startswith(f"{root.rstrip('/')}/"):
            continue
        here = Path(top, path[len(root.rstrip("/")) :].lstrip("/"))
        if is_old:
            yield MemoryGroup(here, 1)
            continue
        for directory in (here, *here.parents):
            if directory.is_relative_to(top):
                yield MemoryGroup(directory, 2)


def _own_places() -> Iterator[MemoryGroup]:
    with suppress(OSError, ValueError):
        texts = [Path("/proc/self", name).read_text() for name in ("cgroup", "mountinfo")]
        yield from places(*texts)


def _made(mib: int, held: ExitStack) -> MemoryGroup | None:
    for place in _own_places():
        with suppress(OSError):
            if place.version == 1 or "memory" in _words(place.path / "cgroup.subtree_control"):
                _remove_stale(place.path)
                return _make(place, mib, held)
    return None


def _words(path: Path) -> list[str]:
    return path.read_text().split()


def _make(place: MemoryGroup, mib: int, held: ExitStack) -> MemoryGroup:
    path = place.path / f"{PREFIX}{os.urandom(6).hex()}"
    path.mkdir()
    try:
        held.enter_context(lock_directory(path))  # if another process has it, the group goes
        most, swap, _ = place.files
        (path / most).write_text(str(mib * MIB))
        with suppress(OSError):  # a kernel that doesn't count it
            (path / swap).write_text(str(mib * MIB) if place.version == 1 else "0")
    except BaseException:  # nothing may be left of it, whatever ended this
        path.rmdir()
        raise
    return MemoryGroup(path, place.version)


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
