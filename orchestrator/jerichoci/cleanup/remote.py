"""What runs of a state root have left on hosts, and removing it when the hosts can be reached.

A note in `away/` tells of each run that is on a host, or left something there; another one of each
host that was used. Whatever a run left whose process is dead goes when its host is reached next: by
`reap`, by `gc`, or by another run that uses the host. A host that can't be reached keeps its notes,
and is no reason to leave the others.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from posixpath import normpath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from jerichoci.errors import PikaciError, UsageError
from jerichoci.nix.command import NixOptions
from jerichoci.placement import User
from jerichoci.placement.collect import Bounds
from jerichoci.placement.operations import run as run_there
from jerichoci.plan.hosts import (
    LINE_LIMIT_SECS,
    HostCapacity,
    HostConfig,
    HostsFile,
    RemoteHost,
    known_hosts_of_run,
    known_part,
    load_hosts,
)
from jerichoci.remote.agent import operations
from jerichoci.remote.host_notes import host_notes, run_name
from jerichoci.remote.pool import SessionPool
from jerichoci.state.ids import is_run_id
from jerichoci.state.notes import guest_notes, has_guests, noted_guests, vm_notes
from jerichoci.state.owner import is_owned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence
    from pathlib import Path

    from jerichoci.machine.process import Completed
    from jerichoci.remote.host_notes import HostNote
    from jerichoci.remote.session import Session
    from jerichoci.runtime.incus.client import Incus
    from jerichoci.state.layout import StateLayout

LOGGER = logging.getLogger("jerichoci")
CONNECT_SECS = 60.0
"""For a host and those before it to let us in, and for the agent to be brought there."""
REAP_SECS = 600.0
"""For agents to end, guests to be removed, and directories with a million files."""
COLLECT_SECS = 3600.0
"""For snapshots to be counted and removed, and a store and a repository to be collected."""


@dataclass
class HostCleanup:
    """What was found in a work directory of a host and went, or would go.

    `host` says the work directory as well where it isn't the one that the settings name by now.
    `problem` is why it wasn't reached, or lost. `runs` are names of directories there,
    `doomed_runs` and `doomed_guests` what is kept and would go with its run's record, `snapshots`
    and `refs` trees, `bytes` those of snapshots, `views` keys of the guests' store, `agents`
    digests; `kept` is the number of snapshots that stay.
    """

    host: str
    problem: str | None = None
    sessions: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    guests: list[str] = field(default_factory=list)
    doomed_runs: list[str] = field(default_factory=list)
    doomed_guests: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    bytes: int = 0
    kept: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class HostVisit:
    """A work directory of a host to go to, and the notes of the runs that went there.

    `is_current`: the settings name it by now. `is_last`: what is noted of the host's last use does.
    """

    host: RemoteHost
    notes: tuple[HostNote, ...]
    is_current: bool
    is_last: bool

    def __str__(self) -> str:
        where = self.host.config.work_dir or "the default work_dir"
        return self.host.name if self.is_current else f"{self.host.name} ({where})"


def check_hosts(state: StateLayout, only: Collection[str]) -> None:
    """See that the hosts that are named are known, before anything is removed."""
    _chosen(state, only, load_hosts())


async def reap_hosts(state: StateLayout, only: Collection[str] = ()) -> list[HostCleanup]:
    """Remove what dead runs have left on all hosts, or on those that are named."""
    return await _clean_up(state, only)


async def collect_hosts(
    state: StateLayout,
    only: Collection[str] = (),
    *,
    dry_run: bool,
    doomed: Collection[str] = (),
) -> list[HostCleanup]:
    """Reap, then remove what is beyond the bounds that a host's settings give, or say what would.

    `doomed` are the ids of runs whose records would go: what they keep on hosts is said.
    """
    return await _clean_up(state, only, _Collecting(dry_run, frozenset(doomed)))


@asynccontextmanager
async def clearing(session: Session, state: StateLayout) -> AsyncIterator[None]:
    """Have what dead runs left on a session's host removed meanwhile, as far as one gets."""
    task = asyncio.create_task(_clear_quietly(session, state))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass(frozen=True)
class _Collecting:
    """What is to be collected beside what is dead: only said, if it is a dry run."""

    dry_run: bool
    doomed: frozenset[str]


async def _clean_up(
    state: StateLayout, only: Collection[str], collecting: _Collecting | None = None
) -> list[HostCleanup]:
    visits = _visits(state, only)
    async with SessionPool() as pool:
        visiting = (
            _visited(pool.session(visit.host, NixOptions()), state, visit, collecting)
            for visit in visits
        )
        return list(await asyncio.gather(*visiting))


def _chosen(state: StateLayout, only: Collection[str], file: HostsFile) -> list[str]:
    used = host_notes(state).hosts()
    names = {*file.hosts, *used, *(note.host for note in _notes(state))}
    for name in only:
        if name not in names:
            raise UsageError(
                f"unknown host `{name}`: no run of this state root is on it",
                f"the known ones are {', '.join(sorted(names)) or 'none'}",
            )
    return sorted(set(only) or names)


def _visits(state: StateLayout, only: Collection[str]) -> list[HostVisit]:
    file = load_hosts()
    notes = _notes(state)
    used = host_notes(state).hosts()
    return [
        visit
        for name in _chosen(state, only, file)
        for visit in _visits_of(
            name, [note for note in notes if note.host == name], used.get(name), file
        )
    ]


def _visits_of(
    name: str, notes: Sequence[HostNote], used: dict[str, Any] | None, file: HostsFile
) -> list[HostVisit]:
    """One visit for each work directory of a host that something is said of."""
    newest = max(notes, key=lambda note: note.run_id).settings if notes else {}
    noted = _noted(name, newest if used is None else used) or HostConfig()
    current = _merged(name, noted, file)
    last = None if used is None else _host_then(current, noted, file)
    ways: dict[RemoteHost, list[HostNote]] = {}
    if name in file.hosts:
        ways[current] = []
    if last is not None:
        ways.setdefault(last, [])
    for note in notes:
        settings = _noted(name, note.settings)
        if settings is not None:
            ways.setdefault(_host_then(current, settings, file), []).append(note)
    return [
        HostVisit(host, tuple(mine), host == current, host == last) for host, mine in ways.items()
    ]


def _notes(state: StateLayout) -> list[HostNote]:
    return [note for note in host_notes(state).all() if is_run_id(note.run_id)]


def _noted(name: str, settings: dict[str, Any]) -> HostConfig | None:
    """A host's settings as they are noted; None if they can't be understood."""
    try:
        return HostConfig.model_validate(known_part(HostConfig, settings))
    except ValidationError:
        LOGGER.warning("the noted settings of host %s are invalid", name)
        return None


def _merged(name: str, noted: HostConfig, file: HostsFile) -> RemoteHost:
    """A host as it is reached by now: the hosts file's keys win."""
    if name in file.hosts:
        # No catalog has that key, so that it is the file's, which may have it no longer.
        noted = noted.with_(known_hosts=None)
    return _bare(known_hosts_of_run({name: noted}, file)[name])


def _host_then(current: RemoteHost, noted: HostConfig, file: HostsFile) -> RemoteHost:
    """How to reach what was left with the noted settings: as now, in the work directory of then.

    Where only catalogs describe the host, another address may be another machine.
    """
    config = current.config
    moved = (noted.address, noted.port) != (config.address, config.port)
    if moved and current.name not in file.hosts:
        return _bare(RemoteHost(current.name, noted))
    if _same_path(noted.work_dir, config.work_dir):
        return current
    return RemoteHost(current.name, config.with_(work_dir=noted.work_dir))


def _same_path(one: str | None, other: str | None) -> bool:
    return one == other or (one and normpath(one)) == (other and normpath(other))


def _bare(host: RemoteHost) -> RemoteHost:
    """A host without what only matters to jobs."""
    config = host.config.with_(labels=(), capacity=HostCapacity(), line_limit_secs=LINE_LIMIT_SECS)
    return RemoteHost(host.name, config)


async def _visited(
    session: Session, state: StateLayout, visit: HostVisit, collecting: _Collecting | None
) -> HostCleanup:
    done = HostCleanup(str(visit))
    try:
        async with asyncio.timeout(CONNECT_SECS):
            await session.open()
        session.shorten_waits()
        async with asyncio.timeout(REAP_SECS):
            left = await _Clearing(session, state, visit.notes, done).run(strays=True)
        if collecting is not None:
            _say_doomed(state, visit, collecting.doomed, left, done)
            async with asyncio.timeout(COLLECT_SECS):
                await _collect(session, done, dry_run=collecting.dry_run)
            if visit.is_last and not (collecting.dry_run or done.kept or done.problems):
                host_notes(state).forget_host(session.name)
    except TimeoutError:
        done.problem = f"{session.name} takes too long to answer"
    except (PikaciError, OSError) as error:
        done.problem = str(error)
    return done


def _say_doomed(
    state: StateLayout,
    visit: HostVisit,
    doomed: Collection[str],
    left: Collection[str],
    done: HostCleanup,
) -> None:
    mine = {note.run_id for note in visit.notes if note.run_id in doomed and not note.is_alive}
    done.doomed_runs += sorted(
        name for name in (run_name(state, run_id) for run_id in mine) if name in left
    )
    done.doomed_guests += sorted(
        guest.name
        for guest in noted_guests(state)
        if guest.host == visit.host.name and guest.run_id in mine and not guest.removal_requested
    )


async def _collect(session: Session, done: HostCleanup, *, dry_run: bool) -> None:
    keep = session.host.config.keep
    bounds = Bounds(count=keep.count, days=keep.days, mib=keep.mib)
    found = await session.do(operations.collect, bounds, dry_run=dry_run)
    done.snapshots, done.refs = found.snapshots, found.refs
    done.views, done.agents = found.views, found.agents
    done.bytes, done.kept = found.bytes, found.kept
    done.problems += found.problems


async def _clear_quietly(session: Session, state: StateLayout) -> None:
    try:
        file = load_hosts()
        here = _bare(session.host)
        noted = [
            (note, _noted(note.host, note.settings))
            for note in _notes(state)
            if note.host == session.name
        ]
        mine = [note for note, config in noted if config and _host_then(here, config, file) == here]
        await _Clearing(session, state, mine, HostCleanup(session.name)).run(strays=False)
    except (PikaciError, OSError) as error:
        LOGGER.debug("could not clean up %s: %s", session.name, error)


class _Clearing:
    """Removing from a session's host what dead runs left."""

    def __init__(
        self, session: Session, state: StateLayout, notes: Sequence[HostNote], done: HostCleanup
    ) -> None:
        self._session = session
        self._state = state
        self._dead = [
            note
            for note in notes
            if not note.is_alive and not is_owned(state.run(note.run_id).root)
        ]
        self._used = {note.session for note in notes if note.is_alive}
        self._done = done

    async def run(self, *, strays: bool) -> set[str]:
        """Remove it; the names of runs that stay. `strays` are guests only their labels tell of."""
        mine = {"", self._session.id}
        wanted = sorted({note.session for note in self._dead} - self._used - mine)
        sessions = await self._session.do(operations.end_sessions, wanted)
        self._done.sessions += sessions.ended
        self._done.problems += [
            f"could not end the agent of session {name}" for name in sessions.stuck
        ]
        await self._remove_guests(strays=strays)
        await self._remove_vms(strays=strays)
        # A guest that is left writes into its run's directory.
        removed = [run for run in self._removed() if not self._has_guests(run)]
        reaped = await self._session.do(operations.reap, [self._name(run) for run in removed])
        left = set(reaped.left)
        gone = {self._name(note.run_id) for note in self._dead} & set(sessions.runs) - left
        self._done.runs += sorted(gone | set(reaped.runs))
        self._done.sessions += reaped.sessions
        self._done.problems += reaped.problems
        for note in self._dead:
            if self._name(note.run_id) not in left and not self._has_guests(note.run_id):
                host_notes(self._state).forget(note.host, note.run_id)
        return left

    async def _remove_guests(self, *, strays: bool) -> None:
        from jerichoci.runtime.incus.reaper import (
            RemoteGuests,
            doomed_guests,
            reap_guests,
            reap_strays,
        )
        from jerichoci.runtime.incus.thread import in_thread

        if not guest_notes(self._state).directory.exists():
            return
        user = User(self._session.facts.uid, self._session.facts.gid)
        runs = {note.run_id for note in self._dead}
        remote = RemoteGuests(self._session.name, runs, self._removed(), user)
        doomed = doomed_guests(self._state, remote=remote)
        if not doomed and not strays:
            return
        site = self._session.host.config.incus.settings
        try:
            async with self._incus() as opened:
                reaping = partial(reap_guests, self._state, opened, remote=remote)
                self._done.guests += await in_thread(reaping)
                for project in sorted(
                    {site.project, *(note.project for note in doomed)} if strays else ()
                ):
                    incus = opened(site.socket_path(), project)
                    self._done.guests += await in_thread(reap_strays, self._state, incus)
        except PikaciError as error:
            # Where no guest is known, there needn't be an Incus.
            if doomed:
                self._done.problems.append(f"could not remove guests: {error}")

    async def _remove_vms(self, *, strays: bool) -> None:
        if not vm_notes(self._state).directory.exists():
            return
        from jerichoci.runtime.tart.reaper import VmReaper

        noted = {note.run_id for note in vm_notes(self._state).of(self._host)}
        if not strays and not noted & {note.run_id for note in self._dead}:
            return
        reaper = VmReaper(self._state, self._far_run(), self._host, self._removed())
        try:
            self._done.guests += await asyncio.to_thread(reaper.reap)
        except PikaciError as error:
            # Where no VM is known, there needn't be a tart.
            if noted:
                self._done.problems.append(f"could not remove VMs: {error}")

    def _far_run(self) -> Callable[[Sequence[str], float], Completed]:
        """What has a command run there, for a thread."""
        loop = asyncio.get_running_loop()

        def run(argv: Sequence[str], deadline_secs: float) -> Completed:
            running = self._session.do(run_there, argv, deadline_secs)
            return asyncio.run_coroutine_threadsafe(running, loop).result()

        return run

    @property
    def _host(self) -> str:
        return self._session.name

    @asynccontextmanager
    async def _incus(self) -> AsyncIterator[Any]:
        """What opens projects of the host's Incus."""
        from jerichoci.remote.incus_socket import ssh_route
        from jerichoci.runtime.incus.client import Incus

        async with ssh_route(self._session, self._session.host.config.incus.socket) as route:

            def opened(_socket: Path, project: str) -> Incus:
                return Incus(route.socket, project, route)

            yield opened

    def _removed(self) -> set[str]:
        """The runs whose records are gone, so that nothing is kept for them."""
        runs = {note.run_id for note in self._dead}
        return {run_id for run_id in runs if not self._state.run(run_id).root.exists()}

    def _has_guests(self, run_id: str) -> bool:
        return has_guests(self._state, self._session.name, run_id)

    def _name(self, run_id: str) -> str:
        return run_name(self._state, run_id)
