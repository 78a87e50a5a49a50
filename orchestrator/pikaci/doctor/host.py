"""What a remote host has, and why jobs can't be there: what a run would say of it, beforehand."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pikaci.doctor.finding import FEW_FILES, Finding, note, ok, room, trouble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncssh import SSHClientProcess

    from jerichoci.plan.hosts import HostCapacity, RemoteHost
    from jerichoci.remote.placement import RemotePlacement
    from jerichoci.remote.session import Session
    from jerichoci.remote.ssh.errors import HostError
    from jerichoci.state.layout import StateLayout
    from pikaci.doctor.catalog import Wanted

MIB = 2**20
CLOCK_SECS = 60.0
"""Clocks that differ by less are right enough for anybody who compares what both wrote."""
PINGS = 3
"""So often is the host asked for the time; the quickest answer counts."""
CHANNEL_SECS = 15.0
"""For a program that does nothing to end."""
INCUS_STEPS = ("incus", "incus project", "incus profile")
"""What is looked at, one after the other."""
SECS_OF_MINUTE, SECS_OF_HOUR = 60, 3600


@dataclass(frozen=True)
class Clock:
    """A host's clock: seconds ahead of ours, and the seconds that an answer takes."""

    ahead_secs: float
    round_trip_secs: float


async def known_hosts(wanted: Wanted, names: Sequence[str]) -> list[RemoteHost]:
    """The hosts of the user's file and the catalog that have these names, as runs know them."""
    from jerichoci.plan.hosts import fitting, known_hosts_of_run, load_hosts

    known = known_hosts_of_run(await wanted.hosts(), load_hosts())
    found = [fitting(known, {"host": name})[0] for name in names]
    return list(dict.fromkeys(found))


async def host_findings(host: RemoteHost, state: StateLayout, wanted: Wanted) -> list[Finding]:
    """Everything about a host; what its jobs can do without is only noted."""
    from jerichoci.nix.command import NixOptions
    from jerichoci.placement.local import LocalPlacement
    from jerichoci.remote.placement import RemotePlacement
    from jerichoci.remote.pool import SessionPool

    nix = NixOptions()
    async with SessionPool() as pool:
        session = pool.session(host, nix)
        here = LocalPlacement(state.root, nix)
        placement = RemotePlacement(session, state, nix, here)
        findings = await _examine(session, placement, wanted)
    return [replace(finding, host=host.name) for finding in findings]


async def _examine(session: Session, placement: RemotePlacement, wanted: Wanted) -> list[Finding]:
    from jerichoci.errors import PikaciError
    from jerichoci.remote.ssh.errors import HostError
    from jerichoci.state.ids import new_run_id

    began = time.monotonic()
    try:
        await session.open()
        took = time.monotonic() - began
        clock = await _clock(session)
    except HostError as error:
        return _refusal(session, error)
    findings = [
        ok("connection", f"{_where(session.host)} lets us in; {_milliseconds(took)} to begin"),
        ok("round trip", f"{_milliseconds(clock.round_trip_secs)} there and back"),
    ]
    try:
        # As a run does, with all that can go wrong then.
        async with placement.serving(run_id := new_run_id()):
            findings += await _inside(session, placement, clock, run_id, wanted)
    except PikaciError as error:
        findings.append(trouble(_what(error), error, "what does its log say there?"))
    except OSError as error:
        text = f"the agent on {session.name} can't do its work: {error}"
        findings.append(Finding("agent", "bad", text, "see its work directory"))
    return findings


def _refusal(session: Session, error: HostError) -> list[Finding]:
    """Why there is no agent, after what went well until then."""
    name = _what(error)
    before = [] if name in EARLY else [ok("connection", f"{_where(session.host)} lets us in")]
    return [*before, trouble(name, error, "what does sshd's log say there?")]


EARLY = ("connection", "host key", "login", "ssh settings")
"""What goes wrong before anybody is let in."""


def _what(error: Exception) -> str:
    from jerichoci.remote.ssh import errors

    names = {
        errors.HostFullError: "work dir",
        errors.HostKeyError: "host key",
        errors.AuthenticationError: "login",
        errors.KeyFileError: "login",
        errors.HostSettingsError: "ssh settings",
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
        there = float(await session.value("clock"))
        took = time.monotonic() - began
        if took < best.round_trip_secs:
            best = Clock(there - (before + took / 2), took)
    return best


async def _inside(
    session: Session, placement: RemotePlacement, clock: Clock, run_id: str, wanted: Wanted
) -> list[Finding]:
    from pikaci.doctor.machine import confinement_findings
    from pikaci.doctor.vms import vm_findings

    facts = session.facts
    seen = await session.value("survey", nix=True)
    own = placement.run_directory(run_id).name
    runs = [run for run in seen["runs"] if run != own]
    return [
        ok("agent", f"Python {facts['python']}, {facts['system']}"),
        _work_dir(facts["work_dir"], seen),
        _snapshots(seen["snapshots"]),
        ok("runs", f"there now: {', '.join(runs)}" if runs else "none there now"),
        _programs(session.name, facts["programs"]),
        *await _channels(session),
        *confinement_findings(await placement.confinement(), f"`work_dir` of {session.name}"),
        _setpriv(seen["programs"]["setpriv"]),
        *_nix(session, await session.tools(), seen["store"]),
        clock_finding(clock),
        capacity_finding(session.host.config.capacity, seen["cpus"], seen["memory_mib"]),
        *await _incus(placement, wanted),
        *await vm_findings(placement),
    ]


def _work_dir(path: str, seen: Mapping[str, Any]) -> Finding:
    text = f"{path} is ours, {seen['free_bytes'] // MIB} MiB free"
    files = seen["free_files"]
    if files is not None and files < FEW_FILES:
        text += f", room for {files} files"
    hint = "`pikaci gc` removes old runs and snapshots there"
    return room("work dir", text, seen["free_bytes"], files, hint)


def _snapshots(seen: Mapping[str, Any]) -> Finding:
    least = "at least " if seen["counted"] < seen["count"] else ""
    return ok("snapshots", f"{seen['count']}, {least}{seen['bytes'] // MIB} MiB")


def _programs(host: str, programs: Mapping[str, str | None]) -> Finding:
    from jerichoci.remote.host_refusals import check_programs
    from jerichoci.remote.ssh.errors import HostSetupError

    try:
        check_programs(host, programs)
    except HostSetupError as error:
        return trouble("programs", error, "install it there")
    return ok("programs", f"git {programs['git']}, {programs['bash']}")


def _setpriv(path: str | None) -> Finding:
    if path:
        return ok("setpriv", path)
    return note(
        "setpriv",
        "not on PATH: a job may live on when the agent is killed",
        "on Linux install util-linux there",
    )


async def _channels(session: Session) -> list[Finding]:
    """Whether sshd has as many sessions for a connection as a run may want at a time."""
    import asyncssh

    from jerichoci.remote.host_refusals import CHANNELS, no_channel

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
        # That the line broke is said by whatever comes next.
        return []
    finally:
        for program in programs:
            program.close()
    return [ok("channels", f"{CHANNELS} programs at a time on a connection")]


def _nix(
    session: Session, tools: Mapping[str, str | None], store: Mapping[str, Any]
) -> list[Finding]:
    from jerichoci.remote.host_refusals import check_nix
    from jerichoci.remote.ssh.errors import HostSetupError

    name = session.name
    try:
        check_nix(name, tools)
    except HostSetupError as error:
        return [trouble("nix", error, "only prepares need it", needed=False)]
    found = [ok("nix", str(tools["nix"]))]
    if not store["answers"]:
        text = f"the store of {name} does not answer: {store['said']}"
        hint = "only prepares need it; is its daemon running, and may our user use it?"
        return [*found, note("nix store", text, hint)]
    if store["trusted"] is False and session.host.config.nix.signing_key is None:
        text = f"Nix on {name} takes no unsigned paths from us"
        hint = (
            "make our user there one of its `trusted-users`, or sign: `signing_key` of"
            f" [hosts.{name}.nix], and its public half among `trusted-public-keys` there"
        )
        return [*found, note("nix store", text, hint)]
    return [*found, ok("nix store", f"it answers ({store['url']})")]


def clock_finding(clock: Clock) -> Finding:
    """Whether a host's clock is right, if ours is."""
    secs = abs(clock.ahead_secs)
    if secs <= CLOCK_SECS:
        return ok("clock", "as here")
    which = "ahead of" if clock.ahead_secs > 0 else "behind"
    return note(
        "clock",
        f"its clock is {span(secs)} {which} this machine's",
        "records have this machine's time, the files of jobs there the host's: set the wrong one"
        " (`timedatectl set-ntp true`)",
    )


def span(secs: float) -> str:
    """A span of time, in the two units that say most."""
    whole = round(secs)
    hours, rest = divmod(whole, SECS_OF_HOUR)
    minutes, seconds = divmod(rest, SECS_OF_MINUTE)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def capacity_finding(declared: HostCapacity, cpus: int, memory_mib: int) -> Finding:
    """Whether a host has what is said of it."""
    has = f"{cpus} CPUs, {memory_mib} MiB"
    more = [
        f"{said} {what}"
        for said, found, what in (
            (declared.cpus, cpus, "CPUs"),
            (declared.memory_mib, memory_mib, "MiB"),
        )
        if said is not None and said > found
    ]
    if more:
        text = f"its `capacity` promises {' and '.join(more)}; it has {has}"
        return note("capacity", text, "promise less, or nothing: then it is what the host has")
    jobs = f", {declared.jobs} jobs at a time" if declared.jobs else ""
    return ok(
        "capacity", f"{declared.cpus or cpus} of {has}{jobs}" if declared.cpus else has + jobs
    )


async def _incus(placement: RemotePlacement, wanted: Wanted) -> list[Finding]:
    from jerichoci.errors import PikaciError
    from jerichoci.runtime.incus.api import IncusError

    needed = bool(wanted.images)
    findings: list[Finding] = []
    try:
        await _look_into_incus(placement, wanted, findings)
    except PikaciError as error:
        hint = "its log says more" if isinstance(error, IncusError) else "only guests need it"
        name = INCUS_STEPS[min(len(findings), len(INCUS_STEPS) - 1)]
        findings.append(trouble(name, error, hint, needed=needed and not _is_absent(error)))
    return findings


def _is_absent(error: Exception) -> bool:
    from jerichoci.remote.incus_socket import AbsentIncusError

    return isinstance(error, AbsentIncusError)


async def _look_into_incus(
    placement: RemotePlacement, wanted: Wanted, findings: list[Finding]
) -> None:
    """As a run does; until something is wrong that the rest needs."""
    from jerichoci.errors import UsageError
    from jerichoci.plan.plan import Image
    from jerichoci.runtime.incus.check import Where, check_image, check_place, check_project
    from jerichoci.runtime.incus.rules import Needs
    from jerichoci.runtime.incus.survey import survey
    from jerichoci.runtime.incus.thread import in_thread
    from pikaci.doctor.guests import about, disk_findings, limit_findings

    incus = await placement.incus()
    site, where = placement.incus_site(), Where(placement.host)
    server = await in_thread(incus.server)
    findings.append(ok("incus", about(server, site.socket)))
    await in_thread(check_project, incus, server, where)
    findings.append(ok("incus project", site.project))
    seen = await in_thread(survey, incus, site, [image.alias for image in wanted.images])
    kinds = frozenset(image.instance_type for image in wanted.images)
    needs = Needs(kinds, member=server.member)
    await in_thread(check_place, incus, seen, site, needs, where)
    findings.append(ok("incus profile", f"{site.profile}, pool {seen.pool}"))
    findings += await disk_findings(placement, wanted)
    findings += await in_thread(limit_findings, incus)
    for role in wanted.images:
        image = Image.model_validate(
            {"role": role.role, "alias": role.alias, "instance_type": role.instance_type}
        )
        name = f"image {image.role}"
        stored = seen.images[image.alias]
        try:
            await in_thread(check_image, incus, server, image, stored, where)
        except UsageError as error:
            findings.append(trouble(name, error, f"`pikaci image import {image.role}{where.flag}`"))
        else:
            size = stored.size_bytes // MIB if stored else 0
            findings.append(ok(name, f"{image.alias}, {image.instance_type}, {size} MiB"))


def _milliseconds(secs: float) -> str:
    return f"{secs * 1000:.1f} ms" if secs < 1 else f"{secs:.1f} s"
