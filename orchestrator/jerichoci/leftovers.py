"""What runs of a state root have left on hosts, and removing it when the hosts can be reached.

A note in `away/` tells of each run that is on a host, or left something there; another one of each
host that was used. Whatever a run left
whose process is dead goes when its host is reached next: by `reap`, by `gc`, or by another run that
uses the host. A host that can't be reached keeps its notes, and is no reason to leave the others.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from jerichoci.away import away_notes, run_name
from jerichoci.errors import PikaciError, UsageError
from jerichoci.hosts import (
    LINE_LIMIT_SECS,
    HostCapacity,
    HostConfig,
    HostsFile,
    RemoteHost,
    known_hosts_of_run,
    known_part,
    load_hosts,
)
from jerichoci.ids import is_run_id
from jerichoci.nix import NixOptions
from jerichoci.owner import is_owned
from jerichoci.placement import User
from jerichoci.ssh.pool import SessionPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence
    from pathlib import Path

    from jerichoci.away import AwayNote
    from jerichoci.incus.api import Incus
    from jerichoci.layout import StateLayout
    from jerichoci.ssh.session import Session

LOGGER = logging.getLogger("jerichoci")
CONNECT_SECS = 60.0
"""For a host and those before it to let us in, and for the agent to be brought there."""
REAP_SECS = 600.0
"""For agents to end, guests to be removed, and directories with a million files."""
COLLECT_SECS = 3600.0
"""For snapshots to be counted and removed, and a store and a repository to be collected."""


@dataclass
class Tidied:
    """What was found on a host and went, or would go.

    `problem` is why it wasn't reached, or lost. `runs` are names of directories there, `snapshots`
    and `refs` trees, `bytes` those of snapshots, `views` keys of the guests' store, `agents`
    digests; `kept` is the number of snapshots that stay.
    """

    host: str
    problem: str | None = None
    sessions: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    guests: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    bytes: int = 0
    kept: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Visit:
    """A host to go to, and the notes of the runs that went there the same way."""

    host: RemoteHost
    notes: tuple[AwayNote, ...] = ()


async def reap_hosts(state: StateLayout, only: Collection[str] = ()) -> list[Tidied]:
    """Remove what dead runs have left on all hosts, or on those that are named.

    Raises:
        UsageError: the hosts file is wrong, or knows no host of such a name.
    """
    return await _tidy(state, only, None)


async def collect_hosts(
    state: StateLayout, only: Collection[str] = (), *, dry_run: bool
) -> list[Tidied]:
    """Reap, then remove what is beyond the bounds that a host's settings give, or say what would.

    Raises:
        UsageError: as `reap_hosts`.
    """
    return await _tidy(state, only, dry_run)


@asynccontextmanager
async def clearing(session: Session, state: StateLayout) -> AsyncIterator[None]:
    """Have what dead runs left on a session's host removed meanwhile, as far as one gets."""
    task = asyncio.create_task(_clear_quietly(session, state))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _tidy(state: StateLayout, only: Collection[str], dry_run: bool | None) -> list[Tidied]:  # noqa: FBT001 - None is not to collect
    visits = _visits(state, only)
    async with SessionPool() as pool:
        visiting = (
            _visit(pool.session(visit.host, NixOptions()), state, visit.notes, dry_run)
            for visit in visits
        )
        return list(await asyncio.gather(*visiting))


def _visits(state: StateLayout, only: Collection[str]) -> list[_Visit]:
    file = load_hosts()
    notes = _notes(state)
    used = away_notes(state).hosts()
    names = {*file.hosts, *used, *(note.host for note in notes)}
    for name in only:
        if name not in names:
            raise UsageError(
                f"no host `{name}` is known, and no run of this state root is on it",
                f"the known ones are {', '.join(sorted(names)) or 'none'}",
            )
    found = []
    for name in sorted(set(only) or names):
        ways: dict[RemoteHost, list[AwayNote]] = {}
        for note in notes:
            way = _way(name, note.settings, file) if note.host == name else None
            if way is not None:
                ways.setdefault(way, []).append(note)
        last = _way(name, used.get(name, {}), file)
        if last is not None and (name in used or name in file.hosts):
            ways.setdefault(last, [])
        found += [_Visit(host, tuple(mine)) for host, mine in ways.items()]
    return found


def _notes(state: StateLayout) -> list[AwayNote]:
    return [note for note in away_notes(state).all() if is_run_id(note.run_id)]


def _way(name: str, settings: dict[str, Any], file: HostsFile) -> RemoteHost | None:
    """A host as it is reached by now; None if what is noted of it can't be understood."""
    try:
        planned = HostConfig.model_validate(known_part(HostConfig, settings))
    except ValidationError:
        LOGGER.warning("what is noted of host %s is wrong", name)
        return None
    return _bare(known_hosts_of_run({name: planned}, file)[name])


def _bare(host: RemoteHost) -> RemoteHost:
    """A host without what only matters to jobs."""
    config = host.config.with_(labels=(), capacity=HostCapacity(), line_limit_secs=LINE_LIMIT_SECS)
    return RemoteHost(host.name, config)


async def _visit(
    session: Session,
    state: StateLayout,
    notes: Sequence[AwayNote],
    dry_run: bool | None,  # noqa: FBT001 - None is not to collect
) -> Tidied:
    done = Tidied(session.name)
    try:
        async with asyncio.timeout(CONNECT_SECS):
            await session.open()
        session.hurry()
        async with asyncio.timeout(REAP_SECS):
            await _Clearing(session, state, notes, done).run(strays=True)
        if dry_run is not None:
            async with asyncio.timeout(COLLECT_SECS):
                await _collect(session, done, dry_run=dry_run)
            if not (dry_run or done.kept or done.problems):
                away_notes(state).forget_host(session.name)
    except TimeoutError:
        done.problem = f"{session.name} takes too long to answer"
    except (PikaciError, OSError) as error:
        done.problem = str(error)
    return done


async def _collect(session: Session, done: Tidied, *, dry_run: bool) -> None:
    keep = session.host.config.keep
    bounds = {"count": keep.count, "days": keep.days, "mib": keep.mib}
    answer = await session.value("collect", bounds=bounds, dry_run=dry_run)
    done.snapshots, done.refs = answer["snapshots"], answer["refs"]
    done.views, done.agents = answer["views"], answer["agents"]
    done.bytes, done.kept = answer["bytes"], answer["kept"]
    done.problems += answer["problems"]


async def _clear_quietly(session: Session, state: StateLayout) -> None:
    try:
        file = load_hosts()
        here = _bare(session.host)
        notes = [note for note in _notes(state) if note.host == session.name]
        mine = [note for note in notes if _way(note.host, note.settings, file) == here]
        await _Clearing(session, state, mine, Tidied(session.name)).run(strays=False)
    except (PikaciError, OSError) as error:
        LOGGER.debug("leftovers on %s stay: %s", session.name, error)


class _Clearing:
    """Removing from a session's host what dead runs left."""

    def __init__(
        self, session: Session, state: StateLayout, notes: Sequence[AwayNote], done: Tidied
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

    async def run(self, *, strays: bool) -> None:
        """Remove it; `strays` are guests that only their labels tell of.

        Raises:
            PikaciError: the host was lost.
            OSError: something can't be read here.
        """
        mine = {"", self._session.id}
        wanted = sorted({note.session for note in self._dead} - self._used - mine)
        sessions = await self._session.value("end_sessions", sessions=wanted)
        self._done.sessions += sessions["ended"]
        self._done.problems += [
            f"the agent of session {name} goes on" for name in sessions["stuck"]
        ]
        await self._remove_guests(strays=strays)
        # A guest that is left writes into its run's directory.
        removed = [run for run in self._removed() if not self._has_guests(run)]
        answer = await self._session.value("reap", runs=[self._name(run) for run in removed])
        left = set(answer["left"])
        gone = {self._name(note.run_id) for note in self._dead} & set(sessions["runs"]) - left
        self._done.runs += sorted(gone | set(answer["runs"]))
        self._done.sessions += answer["sessions"]
        self._done.problems += answer["problems"]
        for note in self._dead:
            if self._name(note.run_id) not in left and not self._has_guests(note.run_id):
                away_notes(self._state).forget(note.host, note.run_id)

    async def _remove_guests(self, *, strays: bool) -> None:
        from jerichoci.incus.reaper import AwayGuests, doomed_guests, reap_guests, reap_strays
        from jerichoci.incus.thread import in_thread

        if not (self._state.root / "guests").exists():
            return
        user = User(self._session.facts["uid"], self._session.facts["gid"])
        runs = {note.run_id for note in self._dead}
        away = AwayGuests(self._session.name, runs, self._removed(), user)
        doomed = doomed_guests(self._state, away=away)
        if not doomed and not strays:
            return
        site = self._session.host.config.incus
        try:
            async with self._incus() as opened:
                reaping = partial(reap_guests, self._state, opened, away=away)
                self._done.guests += await in_thread(reaping)
                for project in sorted(
                    {site.project, *(note.project for note in doomed)} if strays else ()
                ):
                    incus = opened(site.socket_path(), project)
                    self._done.guests += await in_thread(reap_strays, self._state, incus)
        except PikaciError as error:
            # Where no guest is known, there needn't be an Incus.
            if doomed:
                self._done.problems.append(f"guests may stay: {error}")

    @asynccontextmanager
    async def _incus(self) -> AsyncIterator[Any]:
        """What opens projects of the host's Incus."""
        from jerichoci.incus.pylxd_incus import PylxdIncus
        from jerichoci.placement.far_incus import far_way

        async with far_way(self._session, self._session.host.config.incus) as way:

            def opened(_socket: Path, project: str) -> Incus:
                return PylxdIncus(way.socket, project, way)

            yield opened

    def _removed(self) -> set[str]:
        """The runs whose records are gone, so that nothing is kept for them."""
        runs = {note.run_id for note in self._dead}
        return {run_id for run_id in runs if not self._state.run(run_id).root.exists()}

    def _has_guests(self, run_id: str) -> bool:
        return has_guests(self._state, self._session.name, run_id)

    def _name(self, run_id: str) -> str:
        return run_name(self._state, run_id)


def has_guests(state: StateLayout, host: str, run_id: str) -> bool:
    """Whether a run has guests on a host, those included that are on their way out."""
    if not (state.root / "guests").exists():
        return False
    from jerichoci.incus.note import guest_notes

    notes = guest_notes(state).all()
    return any(note.away == host and note.run_id == run_id for note in notes)
