"""Nix, git, and what the machine itself gives to jobs."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from pikaci.doctor.finding import Finding, bad, note, ok, trouble

if TYPE_CHECKING:
    from jerichoci.confinement import Confinement
    from jerichoci.layout import StateLayout
    from jerichoci.process import Completed

LITTLE_BYTES = 2**30
MIB = 2**20


async def nix_findings() -> list[Finding]:
    """Nix's version, and whether its store answers."""
    from jerichoci import nix
    from jerichoci.errors import PikaciError

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
    from jerichoci import nix

    said = (store.stdout + store.stderr).decode("utf-8", "replace")
    advice = nix.advice(said)
    if not store.ok:
        return bad(
            "nix store",
            f"the store does not answer: {store.last_line()}",
            advice
            or "is the daemon running (`systemctl status nix-daemon`), and is $NIX_REMOTE right?",
        )
    if advice:
        return bad("nix store", "the store answers, and nothing can be built", advice)
    found = re.search(r"^Store URL: (\S+)", said, re.MULTILINE)
    kinds = {"daemon": "through the daemon", "local": "as a single user"}
    url = found[1] if found else "daemon"
    return ok("nix store", f"the store answers, {kinds.get(url, f'at {url}')}")


async def git_finding() -> Finding:
    """Git's version."""
    from jerichoci import git
    from jerichoci.errors import PikaciError

    install = f"install git {'.'.join(map(str, git.MINIMUM_VERSION))} or later"
    try:
        done = await git.version()
        text = done.stdout.decode("utf-8", "replace").strip().removeprefix("git version ")
        git.check_version(text)
    except PikaciError as error:
        return trouble("git", error, install)
    return ok("git", text) if done.ok else bad("git", f"it fails: {done.last_line()}", install)


async def isolation_findings(state: StateLayout) -> list[Finding]:
    """What holds a host process, and what its workspace is."""
    from jerichoci.confinement import probe
    from jerichoci.nix import NixOptions
    from jerichoci.placement.local import LocalPlacement

    placement = LocalPlacement(state.root, NixOptions())
    found = await probe(placement, state.slots / "probe-doctor")
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
    ]


def resource_findings(state: StateLayout) -> list[Finding]:
    """The disk, CPUs, memory, and programs that pikaci can do without."""
    from jerichoci.slots import local_capacity

    capacity = local_capacity()
    free = shutil.disk_usage(state.root).free
    room = f"{free // MIB} MiB free at {state.root}"
    return [
        ok("state root", room)
        if free > LITTLE_BYTES
        else note(
            "state root", room, "`pikaci gc` removes old runs, `nix store gc` what Nix can spare"
        ),
        ok("capacity", f"{capacity.cpus} CPUs, {capacity.memory_mib} MiB"),
        _program("nix-prefetch-git", "--source uses plain git without it"),
    ]


def _program(name: str, otherwise: str) -> Finding:
    if path := shutil.which(name):
        return ok(name, path)
    return note(name, f"not on PATH: {otherwise}", f"`nix profile install nixpkgs#{name}`")
