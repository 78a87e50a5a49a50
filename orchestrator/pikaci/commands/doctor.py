"""`pikaci doctor`."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jerichoci.errors import PikaciError
from jerichoci.exit_codes import EXIT_INFRASTRUCTURE
from jerichoci.state.layout import StateLayout
from pikaci import options
from pikaci.completion import complete_host
from pikaci.doctor.finding import Finding, trouble
from pikaci.location import some_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SCHEMA_VERSION = 1
MARKS = {"ok": "ok", "note": "note", "bad": "BAD"}


@click.command("doctor")
@options.json_output
@options.flake
@options.state_root
@click.option(
    "--host",
    "names",
    metavar="NAME",
    multiple=True,
    shell_complete=complete_host,
    help="Check this remote host instead of this machine (repeatable).",
)
def doctor_command(
    flake: str | None, state_root: str | None, names: tuple[str, ...], *, as_json: bool
) -> int:
    """Check this machine: Nix, git, isolation, disk, and Incus with the flake's images.

    Prints how to fix each problem. A note marks something optional. Exits with 75 if anything is
    BAD.

    With --host, checks a remote host instead: login, work directory, programs, isolation, Nix,
    Incus, capacity and clock. Without it, connects to no host.
    """
    with _some_state(state_root, flake) as (state, unusable):
        examining = (
            _host_findings(state, state_root, flake, names)
            if names
            else _local_findings(state, unusable, state_root, flake)
        )
        findings = asyncio.run(examining)
    if as_json:
        rows = [vars(finding) for finding in findings]
        options.print_json({"schema_version": SCHEMA_VERSION, "findings": rows})
    else:
        _print(findings)
    is_bad = any(finding.status == "bad" for finding in findings)
    return EXIT_INFRASTRUCTURE if is_bad else 0


async def _host_findings(
    state: StateLayout, state_root: str | None, flake: str | None, names: Sequence[str]
) -> list[Finding]:
    """What is found on remote hosts."""
    from pikaci.doctor import host
    from pikaci.doctor.catalog import read_needs

    needs = await read_needs(state_root, flake)
    hosts = await host.known_hosts(needs, names)
    found = await asyncio.gather(*(host.host_findings(each, state, needs) for each in hosts))
    troubles = [finding for finding in needs.findings if finding.status != "ok"]
    return [*troubles, *(finding for findings in found for finding in findings)]


async def _local_findings(
    state: StateLayout, unusable: Finding | None, state_root: str | None, flake: str | None
) -> list[Finding]:
    """What is found here; `unusable` says why the state root can't be used."""
    from jerichoci.nix.command import NixOptions
    from jerichoci.placement.local import LocalPlacement
    from jerichoci.plan.hosts import local_settings
    from pikaci.doctor import machine
    from pikaci.doctor.catalog import FlakeNeeds, read_needs
    from pikaci.doctor.guests import guest_findings, vm_findings

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


def _print(findings: Sequence[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    host = None
    for finding in findings:
        if finding.host != host:
            host = finding.host
            click.echo(f"{host}:")
        click.echo(f"{MARKS[finding.status]:<4} {finding.name:<{width}}  {finding.text}")
        if finding.hint:
            click.echo(f"     {'':<{width}}  {finding.hint}")


@contextmanager
def _some_state(
    state_root: str | None, flake: str | None
) -> Iterator[tuple[StateLayout, Finding | None]]:
    """The state root of the command, or a temporary one and why the other can't be used."""
    with some_state(state_root, flake) as state:
        try:
            state.make()
        except PikaciError as error:
            unusable = trouble("state root", error)
        else:
            yield state, None
            return
    with tempfile.TemporaryDirectory(prefix="doctor-") as made:
        state = StateLayout(Path(made))
        state.make()
        yield state, unusable
