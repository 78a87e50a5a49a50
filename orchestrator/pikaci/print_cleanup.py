"""What `reap` and `gc` print of hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from jerichoci.cleanup.remote import HostCleanup

BYTES_OF_MIB = 1024 * 1024


def print_reaped(cleanup: HostCleanup) -> bool:
    """Print what was removed of dead runs on a host, and problems; whether there was any."""
    rows = [
        *(f"ended session {name}" for name in cleanup.sessions),
        *(f"removed guest {name}" for name in cleanup.guests),
        *(f"removed run {name}" for name in cleanup.runs),
    ]
    for row in rows:
        click.echo(f"{cleanup.host}: {row}")
    for problem in cleanup.problems:
        click.echo(f"pikaci: {cleanup.host}: {problem}", err=True)
    if cleanup.problem is not None:
        click.echo(f"pikaci: could not clean up {cleanup.host}: {cleanup.problem}", err=True)
    return bool(rows or cleanup.problems or cleanup.problem)


def print_collected(cleanup: HostCleanup, verb: str) -> None:
    """Print what was removed, or would be, of what a host keeps for later."""
    for name in cleanup.doomed_guests:
        click.echo(f"{cleanup.host}: {verb} guest {name}")
    for name in cleanup.doomed_runs:
        click.echo(f"{cleanup.host}: {verb} run {name}")
    if cleanup.problem is None:
        click.echo(
            f"{cleanup.host}: {verb} {len(cleanup.snapshots)} snapshots"
            f" ({cleanup.bytes / BYTES_OF_MIB:.0f} MiB), {len(cleanup.refs)} snapshot refs,"
            f" {len(cleanup.views)} views of the guests' store, {len(cleanup.agents)} agents;"
            f" kept {cleanup.kept} snapshots"
        )
        for tree in cleanup.snapshots:
            click.echo(f"{cleanup.host}: {verb} snapshot {tree}")
