"""Removing from hosts what runs of a state root have left there.

The ledger has a note for each run that is on a host or left something there, and one for each host
that was used. What a dead run left is removed when its host is reached next: by `reap`, by
`gc`, or by another run that uses the host. A host that can't be reached keeps its notes, and does
not stop the clean-up of others.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING

from jerichoci.cleanup.host_visits import HostVisit, notes_of, visits
from jerichoci.errors import PikaciError
from jerichoci.nix.command import NixOptions
from jerichoci.placement import User
from jerichoci.placement.host_gc import Bounds, Collected
from jerichoci.placement.operations import remove_left_gates
from jerichoci.placement.operations import run as run_there
from jerichoci.remote.agent import agent_operations
from jerichoci.remote.host_notes import HostNote, host_notes, run_name, used_hosts
from jerichoci.remote.pool import SessionPool
from jerichoci.runtime.reaper import GuestPlace, reap
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ledger import (
    GuestLedger,
    GuestNote,
    has_guests,
    incus_guests,
    noted_guests,
    tart_guests,
)
from jerichoci.state.owner import is_owned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from jerichoci.machine.process import Completed
    from jerichoci.remote.session import Session
    from jerichoci.state.layout import StateLayout

LOGGER = logging.getLogger("jerichoci")
CONNECT_SECS = 60.0
"""For a host and its jump hosts to let us in, and for the agent to be copied there."""
REAP_SECS = 600.0
"""For agents to end, guests to be removed, and directories with a million files."""
COLLECT_SECS = 3600.0
"""For snapshots to be counted and removed, and a store and a repository to be collected."""


@dataclass(kw_only=True)
class HostCleanup(Collected):
    """What was removed from a work directory of a host, or would be.

    `host` names the work directory as well if it is not the one that the settings name now.
    `problem` is why it wasn't reached, or was lost. `runs` are names of directories there.
    `doomed_runs` and `doomed_guests` are kept, and removed with their run's record.
    """

    host: str
    problem: str | None = None
    sessions: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    guests: list[str] = field(default_factory=list)
    doomed_runs: list[str] = field(default_factory=list)
    doomed_guests: list[str] = field(default_factory=list)


def check_hosts(state: StateLayout, only: Collection[str]) -> None:
    """Check that the named hosts are known, before anything is removed."""
    visits(state, only)


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
    """Reap, then remove what is beyond the bounds in the hosts' settings, or only name it.

    `doomed` are the ids of runs whose records would be removed: what they keep on hosts is named.
    """
    return await _clean_up(state, only, _Collecting(dry_run, frozenset(doomed)))


@asynccontextmanager
async def clearing(session: Session, state: StateLayout) -> AsyncIterator[None]:
    """Remove what dead runs left on a session's host meanwhile, as far as there is time."""
    task = asyncio.create_task(_clear_quietly(session, state))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _clear_quietly(session: Session, state: StateLayout) -> None:
    try:
        notes = notes_of(session.host, state)
        await _Clearing(session, state, notes, HostCleanup(host=session.name)).run(strays=False)
    except (PikaciError, OSError) as error:
        LOGGER.debug("could not clean up %s: %s", session.name, error)


@dataclass(frozen=True)
class _Collecting:
    """What is to be collected beside what is dead, or only named."""

    dry_run: bool
    doomed: frozenset[str]


async def _clean_up(
    state: StateLayout, only: Collection[str], collecting: _Collecting | None = None
) -> list[HostCleanup]:
    async with SessionPool() as pool:
        visiting = (
            _visited(pool.session(visit.host, NixOptions()), state, visit, collecting)
            for visit in visits(state, only)
        )
        return list(await asyncio.gather(*visiting))


async def _visited(
    session: Session, state: StateLayout, visit: HostVisit, collecting: _Collecting | None
) -> HostCleanup:
    done = HostCleanup(host=str(visit))
    try:
        async with asyncio.timeout(CONNECT_SECS):
            await session.open()
        session.shorten_waits()
        async with asyncio.timeout(REAP_SECS):
            left = await _Clearing(session, state, visit.notes, done).run(strays=True)
        if collecting is not None:
            _name_doomed(state, visit, collecting.doomed, left, done)
            async with asyncio.timeout(COLLECT_SECS):
                await _collect(session, done, dry_run=collecting.dry_run)
            if visit.is_last and not (collecting.dry_run or done.kept or done.problems):
                used_hosts(state).forget(session.name)
    except TimeoutError:
        done.problem = f"{session.name} takes too long to answer"
    except (PikaciError, OSError) as error:
        done.problem = str(error)
    return done


def _name_doomed(
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
    found = await session.do(agent_operations.collect, bounds, dry_run=dry_run)
    problems = [*done.problems, *found.problems]
    vars(done).update(vars(found), problems=problems)


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
        """Remove it; the names of runs that are left. `strays` are guests without notes."""
        state, host, name_of = self._state, self._session.name, partial(run_name, self._state)
        mine = {"", self._session.id}
        wanted = sorted({note.session for note in self._dead} - self._used - mine)
        sessions = await self._session.do(agent_operations.end_sessions, wanted)
        self._done.sessions += sessions.ended
        self._done.problems += [
            f"could not end the agent of session {name}" for name in sessions.stuck
        ]
        await self._remove_guests(strays=strays)
        # A guest that is still there writes into its run's directory.
        removed = [run for run in self._removed() if not has_guests(state, host, run)]
        reaped = await self._session.do(agent_operations.reap, [name_of(run) for run in removed])
        left = set(reaped.left)
        gone = {name_of(note.run_id) for note in self._dead} & set(sessions.runs) - left
        self._done.runs += sorted(gone | set(reaped.runs))
        self._done.sessions += reaped.sessions
        self._done.problems += reaped.problems
        for note in self._dead:
            if name_of(note.run_id) not in left and not has_guests(state, host, note.run_id):
                host_notes(state).forget(note.name)
        return left

    async def _remove_guests(self, *, strays: bool) -> None:
        state = self._state
        dead = {note.run_id for note in self._dead}
        for ledger, reached in (
            (incus_guests(state), self._incus_places),
            (tart_guests(state), self._tart_places),
        ):
            noted = [note for note in ledger.of(self._session.name) if note.run_id in dead]
            if not noted and not (strays and ledger.directory.exists()):
                continue
            try:
                async with reached(noted, dead, strays=strays) as places:
                    for place in places:
                        mine = [note for note in noted if place.has(note)]
                        await self._reap(place, mine, strays=strays)
                await self._session.do(remove_left_gates)
            except PikaciError as error:
                self._report(ledger, noted, error)

    async def _reap(self, place: GuestPlace, noted: Collection[GuestNote], *, strays: bool) -> None:
        try:
            self._done.guests += await reap(place, removed=self._removed(), strays=strays)
        except PikaciError as error:
            self._report(place.ledger, noted, error)

    def _report(
        self, ledger: GuestLedger, noted: Collection[GuestNote], error: PikaciError
    ) -> None:
        """Report an error; where no guest is to go, there needn't be an Incus, or a tart."""
        if any(ledger.is_doomed(note, removed=self._removed()) for note in noted):
            self._done.problems.append(f"could not remove guests: {error}")

    @asynccontextmanager
    async def _incus_places(
        self, notes: Sequence[GuestNote], runs: Collection[str], *, strays: bool
    ) -> AsyncIterator[list[GuestPlace]]:
        from jerichoci.remote.incus_socket import ssh_route
        from jerichoci.runtime.incus.client import Incus
        from jerichoci.runtime.incus.reaper import IncusPlace

        host, facts = self._session.name, self._session.facts
        config = self._session.host.config.incus
        user = User(facts.uid, facts.gid)
        projects = {note.project for note in notes}
        if strays:
            projects.add(config.settings.project)
        async with ssh_route(self._session, config.socket) as route:
            yield [
                IncusPlace(self._state, Incus(route.socket, project, route), user, host, runs=runs)
                for project in sorted(projects)
            ]

    @asynccontextmanager
    async def _tart_places(
        self, _notes: Sequence[GuestNote], runs: Collection[str], *, strays: bool
    ) -> AsyncIterator[list[GuestPlace]]:
        from jerichoci.runtime.tart.reaper import TartPlace

        del strays  # a host has one Tart
        yield [TartPlace(self._state, self._run, self._session.name, runs)]

    async def _run(self, argv: Sequence[str], deadline_secs: float) -> Completed:
        return await self._session.do(run_there, argv, deadline_secs)

    def _removed(self) -> set[str]:
        """The runs whose records are gone, so that nothing is kept for them."""
        runs = {note.run_id for note in self._dead}
        return {run_id for run_id in runs if not self._state.run(run_id).root.exists()}
