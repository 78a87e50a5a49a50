"""What was found and removed on hosts, as `reap` and `gc` print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from jerichoci.cleanup.remote import Tidied

BYTES_OF_MIB = 1024 * 1024


def print_reaped(tidied: Tidied) -> bool:
    """Print what dead runs had left on a host, and on stderr what stays; whether there was any."""
    rows = [
        *(f"ended session {name}" for name in tidied.sessions),
        *(f"removed guest {name}" for name in tidied.guests),
        *(f"removed run {name}" for name in tidied.runs),
    ]
    for row in rows:
        click.echo(f"{tidied.host}: {row}")
    for problem in tidied.problems:
        click.echo(f"pikaci: {tidied.host}: {problem}", err=True)
    if tidied.problem is not None:
        click.echo(f"pikaci: what is left on {tidied.host} stays: {tidied.problem}", err=True)
    return bool(rows or tidied.problems or tidied.problem)


def print_collected(tidied: Tidied, verb: str) -> None:
    """Print what was only kept on a host for later and went, or would go."""
    for name in tidied.doomed_guests:
        click.echo(f"{tidied.host}: {verb} guest {name}")
    for name in tidied.doomed_runs:
        click.echo(f"{tidied.host}: {verb} run {name}")
    if tidied.problem is None:
        click.echo(
            f"{tidied.host}: {verb} {len(tidied.snapshots)} snapshots"
            f" ({tidied.bytes / BYTES_OF_MIB:.0f} MiB), {len(tidied.refs)} snapshot refs,"
            f" {len(tidied.views)} views of the guests' store, {len(tidied.agents)} agents;"
            f" kept {tidied.kept} snapshots"
        )
        for tree in tidied.snapshots:
            click.echo(f"{tidied.host}: {verb} snapshot {tree}")
