"""Nix, git, and what the machine itself gives to jobs."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jerichoci.errors import PikaciError
from jerichoci.machine.slots import local_capacity
from jerichoci.nix import command as nix
from jerichoci.placement import Placement, operations
from jerichoci.snapshot import git
from pikaci.doctor.finding import Finding, bad, note, ok, room, trouble

if TYPE_CHECKING:
    from jerichoci.nix.command import Store

SYSTEMD = Path("/run/systemd/system")
"""It is there where systemd is the machine's first process."""


async def nix_findings() -> list[Finding]:
    """Nix's version, and whether its store answers."""
    try:
        version = await nix.version()
        nix.check_version(version)
    except PikaciError as error:
        return [trouble("nix", error, "install Nix 2.18 or later")]
    named = ok("nix", version)
    if not version[0].isdecimal():
        named = bad("nix", "`nix --version` prints no version", "install Nix 2.18 or later")
    return [named, store_finding(await nix.ask_store())]


def store_finding(store: Store, host: str | None = None, *, signs: bool = True) -> Finding:
    """Whether the Nix store here or of a host answers; a host can do without.

    `signs` is whether what is copied there is signed.
    """
    name, whose, needed = "nix store", f"the store of {host}" if host else "the store", not host
    if store.reason:
        hint = "only prepares need it; is its daemon running, and may our user use it?"
        if not host:
            hint = f"is the daemon running ({_daemon()}), and is $NIX_REMOTE right?"
        text = f"{whose} does not answer: {store.reason}"
        return bad(name, text, store.advice or hint, needed=needed)
    if store.advice:
        return bad(name, f"{whose} answers, but can't build", store.advice, needed=needed)
    if store.trusted is False and not signs:
        return note(
            name,
            f"Nix on {host} takes no unsigned paths from us",
            "make our user on the host one of its `trusted-users`, or sign: `signing_key` of"
            f" [hosts.{host}.nix], and its public half among the host's `trusted-public-keys`",
        )
    kinds = {"daemon": "through the daemon", "local": "single-user Nix"}
    return ok(name, f"store reachable ({kinds.get(store.url, store.url)})")


def _daemon() -> str:
    if SYSTEMD.is_dir():
        return "`systemctl status nix-daemon`"
    if sys.platform == "darwin":
        return "`sudo launchctl kickstart -k system/org.nixos.nix-daemon` starts it anew"
    return "as root, `nix-daemon &` starts it"


async def git_finding() -> Finding:
    """Git's version."""
    install = f"install git {'.'.join(map(str, git.MINIMUM_VERSION))} or later"
    try:
        done = await git.version()
        text = done.stdout.decode("utf-8", "replace").strip().removeprefix("git version ")
        git.check_version(text)
    except PikaciError as error:
        return trouble("git", error, install)
    return ok("git", text) if done.ok else bad("git", f"it fails: {done.reason()}", install)


async def confinement_findings(placement: Placement, root: str) -> list[Finding]:
    """What holds jobs on a host; `root` is where their workspaces are."""
    found = await placement.confinement()
    limits_memory = "memory" in await placement.do(operations.limitable)
    return [
        ok("processes", "jobs run in PID namespaces, so no process outlives its job")
        if found.namespaces
        else note(
            "processes",
            "no PID namespaces: a job's child that leaves its process group can outlive it",
            "on Linux install util-linux (`unshare`), and allow user namespaces or be root",
        ),
        ok("workspaces", "workspaces are overlays: they cost nothing per file")
        if found.overlay
        else note(
            "workspaces",
            "no overlays: workspaces are copies",
            f"on Linux 5.11 or later have {root} on ext4, xfs or btrfs",
        ),
        ok("memory", "jobs get no more than their `resources.memoryMib`")
        if limits_memory
        else note(
            "memory",
            "`resources.memoryMib` limits no host process: no control group can be made",
            "log in as root where control groups can be written to"
            if placement.is_remote
            else "be root on a machine with control groups that can be written to, or under systemd"
            " start pikaci by `systemd-run --user --scope`",
        ),
    ]


def room_finding(name: str, path: Path) -> Finding:
    """The room on the disk of a directory."""
    disk = os.statvfs(path)
    hint = "`pikaci gc` removes old runs, `nix store gc` what Nix can spare"
    files = disk.f_favail if disk.f_files else None
    return room(name, f"at {path}", disk.f_bavail * disk.f_frsize, files, hint)


def resource_findings() -> list[Finding]:
    """CPUs, memory, Nix's disk, and programs that pikaci can do without."""
    capacity = local_capacity()
    store = Path("/nix/store")
    prefetch = shutil.which("nix-prefetch-git")
    return [
        *([room_finding("nix disk", store)] if store.is_dir() else []),
        ok("capacity", f"{capacity.cpus} CPUs, {capacity.memory_mib} MiB"),
        ok("nix-prefetch-git", prefetch)
        if prefetch
        else note(
            "nix-prefetch-git",
            "not on PATH: --source uses plain git without it",
            "`nix profile install nixpkgs#nix-prefetch-git`",
        ),
    ]
