"""What a remote host has, and why jobs can't run on it: a run's own checks, beforehand."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncssh

from jerichoci.errors import PikaciError
from jerichoci.nix.command import NixOptions, Store
from jerichoci.plan.hosts import HostCapacity, RemoteHost, fitting, known_hosts_of_run, load_hosts
from jerichoci.remote.agent.agent_operations import Tools, clock, survey
from jerichoci.remote.host_refusals import CHANNELS, check_nix, check_programs, no_channel
from jerichoci.remote.placement import RemotePlacement
from jerichoci.remote.pool import SessionPool
from jerichoci.remote.ssh import errors
from jerichoci.remote.ssh.errors import HostError, HostSetupError
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import new_run_id
from pikaci.doctor.finding import MIB, Finding, note, ok, room, trouble
from pikaci.doctor.guests import guest_findings, vm_findings
from pikaci.doctor.machine import confinement_findings, store_finding
from pikaci.render.words import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncssh import SSHClientProcess

    from jerichoci.remote.agent.survey import Programs
    from jerichoci.remote.session import Session
    from jerichoci.state.layout import StateLayout
    from pikaci.doctor.catalog import FlakeNeeds

CLOCK_SECS = 60.0
"""Clocks that differ by less are right enough to compare what both wrote."""
PINGS = 3
"""So often is the host asked for the time; the quickest answer counts."""
EARLY = ("connection", "host key", "login", "ssh settings")
"""What fails before the login."""
CHANNEL_SECS = 15.0
"""For a program that does nothing to end."""


@dataclass(frozen=True)
class Clock:
    """A host's clock: seconds ahead of ours, and the seconds that an answer takes."""

    ahead_secs: float
    round_trip_secs: float


async def known_hosts(needs: FlakeNeeds, names: Sequence[str]) -> list[RemoteHost]:
    """The hosts of the user's file and the catalog that have these names, as runs know them."""
    known = known_hosts_of_run(await needs.hosts(), load_hosts())
    found = [fitting(known, {"host": name})[0] for name in names]
    return list(dict.fromkeys(found))


async def host_findings(host: RemoteHost, state: StateLayout, needs: FlakeNeeds) -> list[Finding]:
    """Everything about a host; what its jobs can do without is only noted."""
    nix = NixOptions()
    async with SessionPool() as pool:
        session = pool.session(host, nix)
        placement = RemotePlacement(session, state, nix)
        findings = await _examine(session, placement, needs)
    return [replace(finding, host=host.name) for finding in findings]


async def _examine(
    session: Session, placement: RemotePlacement, needs: FlakeNeeds
) -> list[Finding]:
    began = time.monotonic()
    try:
        await session.open()
        took = time.monotonic() - began
        clock = await _clock(session)
    except HostError as error:
        name = _what(error)
        login = [] if name in EARLY else [ok("connection", f"{_where(session.host)} lets us in")]
        return [*login, trouble(name, error, "see sshd's log on the host")]
    findings = [
        ok("connection", f"{_where(session.host)} lets us in; {_milliseconds(took)} to begin"),
        ok("round trip", f"{_milliseconds(clock.round_trip_secs)} a request"),
    ]
    try:
        # As a run does, with all that can go wrong then.
        async with placement.serving(run_id := new_run_id()):
            findings += await _inside(session, placement, clock, run_id, needs)
    except PikaciError as error:
        findings.append(trouble(_what(error), error, "see the log on the host"))
    except OSError as error:
        text = f"the agent on {session.name} can't do its work: {error}"
        findings.append(Finding("agent", "bad", text, "see its work directory"))
    return findings


def _what(error: Exception) -> str:
    names = {
        errors.HostFullError: "work dir",
        errors.HostKeyError: "host key",
        errors.AuthenticationError: "login",
        errors.KeyFileError: "login",
        errors.HostSettingsError: "ssh settings",
        errors.SilentSettingsError: "ssh settings",
        errors.HostSetupError: "host",
        errors.UnreachableHostError: "connection",
    }
    return next((name for kind, name in names.items() if isinstance(error, kind)), "host")


def _where(host: RemoteHost) -> str:
    config = host.config
    user = f"{config.user}@" if config.user else ""
    return f"{user}{host.address}{f' port {config.port}' if config.port else ''}"


async def _clock(session: Session) -> Clock:
    best = Clock(0.0, float("inf"))
    for _ in range(PINGS):
        before, began = time.time(), time.monotonic()
        there = await session.do(clock)
        took = time.monotonic() - began
        if took < best.round_trip_secs:
            best = Clock(there - (before + took / 2), took)
    return best


async def _inside(
    session: Session, placement: RemotePlacement, clock: Clock, run_id: str, needs: FlakeNeeds
) -> list[Finding]:
    facts = session.facts
    seen = await session.do(survey, ask_nix=True)
    count = seen.snapshots
    least = "at least " if count.counted < count.count else ""
    own = placement.run_directory(run_id).name
    runs = [run for run in seen.runs if run != own]
    hint = "`pikaci gc` removes old runs and snapshots from the host"
    return [
        ok("agent", f"Python {facts.python}, {facts.system}"),
        room("work dir", f"at {facts.work_dir}", seen.free_bytes, seen.free_files, hint),
        ok("snapshots", f"{count.count}, {least}{count.bytes // MIB} MiB"),
        ok("runs", f"now: {', '.join(runs)}" if runs else "none now"),
        _programs(session.name, facts.programs),
        *await _channels(session),
        *await confinement_findings(placement, f"`work_dir` of {session.name}"),
        _setpriv(seen.programs["setpriv"]),
        *_nix(session, await session.tools(), seen.store),
        clock_finding(clock),
        capacity_finding(session.host.config.capacity, seen.cpus, seen.memory_mib),
        *await guest_findings(placement, needs),
        *await vm_findings(placement),
    ]


def _programs(host: str, programs: Programs) -> Finding:
    try:
        check_programs(host, programs)
    except HostSetupError as error:
        return trouble("programs", error, "install it on the host")
    return ok("programs", f"git {programs.git}, {programs.bash}")


def _setpriv(path: str | None) -> Finding:
    if path:
        return ok("setpriv", path)
    return note(
        "setpriv",
        "not on PATH: a job may outlive an agent that is killed",
        "on Linux install util-linux on the host",
    )


async def _channels(session: Session) -> list[Finding]:
    """Whether sshd has as many sessions for a connection as a run may want at a time."""
    connection = await session.connection()
    programs: list[SSHClientProcess[bytes]] = []
    try:
        async with asyncio.timeout(CHANNEL_SECS):
            while len(programs) < CHANNELS - 1:
                program = await connection.create_process("exec cat", encoding=None)
                programs.append(program)
    except asyncssh.ChannelOpenError as error:
        # One beside the agent is what each job needs.
        return [
            trouble("channels", no_channel(session.name, error.reason), "", needed=not programs)
        ]
    except (asyncssh.Error, OSError, TimeoutError):
        # The next check reports that the connection broke.
        return []
    finally:
        for program in programs:
            program.close()
    return [ok("channels", f"{CHANNELS} programs at a time on a connection")]


def _nix(session: Session, tools: Tools, store: Store | None) -> list[Finding]:
    name = session.name
    try:
        check_nix(name, tools)
    except HostSetupError as error:
        return [trouble("nix", error, "only prepares need it", needed=False)]
    signs = session.host.config.nix.signing_key is not None
    findings = [ok("nix", str(tools.nix))]
    return [*findings, store_finding(store, name, signs=signs)] if store else findings


def clock_finding(clock: Clock) -> Finding:
    """Whether a host's clock is right, if ours is."""
    secs = abs(clock.ahead_secs)
    if secs <= CLOCK_SECS:
        return ok("clock", "as here")
    which = "ahead of" if clock.ahead_secs > 0 else "behind"
    return note(
        "clock",
        f"its clock is {duration(round(secs * 1000))} {which} this machine's",
        "records have this machine's time, the files of its jobs have the host's: set the wrong one"
        " (`timedatectl set-ntp true`)",
    )


def capacity_finding(declared: HostCapacity, cpus: int, memory_mib: int) -> Finding:
    """Whether a host has what its settings promise."""
    has = f"{cpus} CPUs, {memory_mib} MiB"
    more = [
        f"{promised} {what}"
        for promised, found, what in (
            (declared.cpus, cpus, "CPUs"),
            (declared.memory_mib, memory_mib, "MiB"),
        )
        if promised is not None and promised > found
    ]
    if more:
        text = f"its `capacity` promises {' and '.join(more)}; it has {has}"
        return note("capacity", text, "lower it, or leave it out: then it is what the host has")
    jobs = f", {declared.jobs} jobs at a time" if declared.jobs else ""
    return ok(
        "capacity", f"{declared.cpus or cpus} of {has}{jobs}" if declared.cpus else has + jobs
    )


def _milliseconds(secs: float) -> str:
    return f"{secs * 1000:.1f} ms" if secs < 1 else f"{secs:.1f} s"
