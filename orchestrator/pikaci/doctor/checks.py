"""Which checks `doctor` makes: of this machine, or of remote hosts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jerichoci.nix.command import NixOptions
from jerichoci.placement.local import LocalPlacement
from jerichoci.plan.hosts import local_settings
from pikaci.doctor import machine
from pikaci.doctor.catalog import FlakeNeeds, read_needs
from pikaci.doctor.guests import guest_findings, vm_findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jerichoci.state.layout import StateLayout
    from pikaci.doctor.finding import Finding


async def host_findings(
    state: StateLayout, state_root: str | None, flake: str | None, names: Sequence[str]
) -> list[Finding]:
    """What is found on remote hosts, by default on all."""
    from pikaci.doctor import host

    needs = await read_needs(state_root, flake)
    hosts = await host.known_hosts(needs, names)
    found = await asyncio.gather(*(host.host_findings(each, state, needs) for each in hosts))
    troubles = [finding for finding in needs.findings if finding.status != "ok"]
    return [*troubles, *(finding for findings in found for finding in findings)]


async def local_findings(
    state: StateLayout, unusable: Finding | None, state_root: str | None, flake: str | None
) -> list[Finding]:
    """What is found here; `unusable` says why the state root can't be used."""
    here = LocalPlacement(state.root, NixOptions(), local_settings)
    root = "the state root (--state-root)"
    nix, git, confinement = await asyncio.gather(
        machine.nix_findings(), machine.git_finding(), machine.confinement_findings(here, root)
    )
    found = [
        *nix,
        git,
        *confinement,
        unusable or machine.room_finding("state root", state.root),
        *machine.resource_findings(),
    ]
    works = all(finding.status != "bad" for finding in found)
    needs = await read_needs(state_root, flake) if works else FlakeNeeds()
    guests = await guest_findings(here, needs)
    return [*found, *needs.findings, *guests, *await vm_findings(here)]
