"""`pikaci doctor`."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pikaci import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jerichoci.layout import StateLayout


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    text: str
    needed: bool = True


@click.command("doctor")
@options.flake
@options.state_root
def command(flake: str | None, state_root: str | None) -> int:
    """Check Nix, git, the kernel's isolation and the state root; say what to do about each."""
    from jerichoci.errors import EXIT_INFRASTRUCTURE

    with _some_state(state_root, flake) as state:
        state.make()
        findings = asyncio.run(_examine(state))
    for finding in findings:
        mark = "ok  " if finding.good else ("BAD " if finding.needed else "note")
        click.echo(f"{mark} {finding.what:<12} {finding.text}")
    bad = any(finding.needed and not finding.good for finding in findings)
    return EXIT_INFRASTRUCTURE if bad else 0


@contextmanager
def _some_state(state_root: str | None, flake: str | None) -> Iterator[StateLayout]:
    """The state root that is meant; outside a flake one that goes again, where the others are."""
    from jerichoci.errors import UsageError
    from jerichoci.layout import StateLayout
    from pikaci.location import state_home

    try:
        yield options.open_state(state_root, flake)
    except UsageError:
        if flake or state_root:
            raise
        home = state_home()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="doctor-", dir=home) as made:
            yield StateLayout(Path(made))


async def _examine(state: StateLayout) -> list[Finding]:
    from jerichoci.slots import local_capacity

    capacity = local_capacity()
    usage = shutil.disk_usage(state.root)
    room = f"{usage.free // 2**20} MiB free at {state.root}"
    return [
        *await _nix(),
        await _git(),
        *await _isolation(state),
        Finding("state root", usage.free > 2**30, room, needed=False),
        Finding("capacity", good=True, text=f"{capacity.cpus} CPUs, {capacity.memory_mib} MiB"),
        _program("nix-prefetch-git", "--source then uses plain git"),
    ]


async def _nix() -> list[Finding]:
    from jerichoci import nix
    from jerichoci.errors import PikaciError

    try:
        version = await nix.version()
        nix.check_version(version)
    except PikaciError as error:
        return [Finding("nix", good=False, text=str(error))]
    store = await nix.store_info()
    text = "the store answers" if store.ok else f"the store does not answer: {store.last_line()}"
    return [Finding("nix", good=True, text=version), Finding("nix store", store.ok, text)]


async def _git() -> Finding:
    from jerichoci import git
    from jerichoci.errors import PikaciError

    try:
        done = await git.version()
    except PikaciError as error:
        return Finding("git", good=False, text=str(error))
    return Finding("git", done.ok, done.stdout.decode().strip().removeprefix("git version "))


async def _isolation(state: StateLayout) -> list[Finding]:
    from jerichoci.confinement import probe
    from jerichoci.nix import NixOptions
    from jerichoci.placement import open_placement

    placement = open_placement("local", state.root, NixOptions())
    found = await probe(placement, state.slots / "probe-doctor")
    processes = (
        "jobs run in PID namespaces: nothing of them outlives them"
        if found.namespaces
        else "no PID namespaces: a job's child that leaves its process group can outlive it"
    )
    overlay = (
        "workspaces are overlays: they cost nothing per file"
        if found.overlay
        else "no overlays below the state root: workspaces are copies"
    )
    return [
        Finding("processes", found.namespaces, processes, needed=False),
        Finding("workspaces", found.overlay, overlay, needed=False),
    ]


def _program(name: str, otherwise: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, bool(path), path or f"not on PATH: {otherwise}", needed=False)
