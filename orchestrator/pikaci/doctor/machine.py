"""Nix, git, and what the machine itself gives to jobs."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pikaci.doctor.finding import FEW_FILES, Finding, bad, note, ok, room, trouble

if TYPE_CHECKING:
    from jerichoci.machine.confinement import Confinement
    from jerichoci.machine.process import Completed
    from jerichoci.state.layout import StateLayout

MIB = 2**20
SYSTEMD = Path("/run/systemd/system")
"""It is there where systemd is the machine's first process."""


async def nix_findings() -> list[Finding]:
    """Nix's version, and whether its store answers."""
    from jerichoci.errors import PikaciError
    from jerichoci.nix import command as nix

    try:
        version = await nix.version()
        nix.check_version(version)
        store = await nix.store_info()
    except PikaciError as error:
        return [trouble("nix", error, "install Nix 2.18 or later")]
    if not version[0].isdecimal():
        return [bad("nix", "`nix --version` says none", "install Nix 2.18 or later"), _store(store)]
    return [ok("nix", version), _store(store)]


def _store(store: Completed) -> Finding:
    from jerichoci.nix import command as nix

    said = (store.stdout + store.stderr).decode("utf-8", "replace")
    advice = nix.advice(said)
    if not store.ok:
        return bad(
            "nix store",
            f"the store does not answer: {store.reason()}",
            advice or f"is the daemon running ({_daemon()}), and is $NIX_REMOTE right?",
        )
    if advice:
        return bad("nix store", "the store answers, and nothing can be built", advice)
    found = re.search(r"^Store URL: (\S+)", said, re.MULTILINE)
    kinds = {"daemon": "through the daemon", "local": "as a single user"}
    url = found[1] if found else "daemon"
    return ok("nix store", f"the store answers, {kinds.get(url, f'at {url}')}")


def _daemon() -> str:
    if SYSTEMD.is_dir():
        return "`systemctl status nix-daemon`"
    if sys.platform == "darwin":
        return "`sudo launchctl kickstart -k system/org.nixos.nix-daemon` starts it anew"
    return "as root, `nix-daemon &` starts it"


async def git_finding() -> Finding:
    """Git's version."""
    from jerichoci.errors import PikaciError
    from jerichoci.snapshot import git

    install = f"install git {'.'.join(map(str, git.MINIMUM_VERSION))} or later"
    try:
        done = await git.version()
        text = done.stdout.decode("utf-8", "replace").strip().removeprefix("git version ")
        git.check_version(text)
    except PikaciError as error:
        return trouble("git", error, install)
    return ok("git", text) if done.ok else bad("git", f"it fails: {done.reason()}", install)


async def isolation_findings(state: StateLayout) -> list[Finding]:
    """What holds a host process, and what its workspace is."""
    from jerichoci.nix.command import NixOptions
    from jerichoci.placement.local import LocalPlacement

    placement = LocalPlacement(state.root, NixOptions())
    found = await placement.confinement()
    return confinement_findings(found, "the state root (--state-root)")


def confinement_findings(found: Confinement, root: str) -> list[Finding]:
    """What holds jobs where this was found; `root` is where their workspaces are."""
    return [
        ok("processes", "jobs run in PID namespaces: nothing of them outlives them")
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
        if found.memory
        else note(
            "memory",
            "`resources.memoryMib` limits no host process: no control group can be made",
            "be root on a machine with control groups that can be written to, or under systemd"
            " start pikaci by `systemd-run --user --scope`",
        ),
    ]


def room_finding(name: str, path: Path) -> Finding:
    """The room on the disk of a directory."""
    disk = os.statvfs(path)
    free = disk.f_bavail * disk.f_frsize
    text = f"{free // MIB} MiB free at {path}"
    if disk.f_files and disk.f_favail < FEW_FILES:
        text += f", room for {disk.f_favail} files"
    hint = "`pikaci gc` removes old runs, `nix store gc` what Nix can spare"
    return room(name, text, free, disk.f_favail if disk.f_files else None, hint)


def resource_findings() -> list[Finding]:
    """CPUs, memory, Nix's disk, and programs that pikaci can do without."""
    from jerichoci.machine.slots import local_capacity

    capacity = local_capacity()
    store = Path("/nix/store")
    return [
        *([room_finding("nix disk", store)] if store.is_dir() else []),
        ok("capacity", f"{capacity.cpus} CPUs, {capacity.memory_mib} MiB"),
        _program("nix-prefetch-git", "--source uses plain git without it"),
    ]


def _program(name: str, otherwise: str) -> Finding:
    if path := shutil.which(name):
        return ok(name, path)
    return note(name, f"not on PATH: {otherwise}", f"`nix profile install nixpkgs#{name}`")
