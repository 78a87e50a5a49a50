"""`pikaci reap`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from pikaci import options

if TYPE_CHECKING:
    from jerichoci.cleanup.remote import HostCleanup


@click.command("reap")
@options.which_hosts
@options.flake
@options.state_root
def command(
    flake: str | None, state_root: str | None, hosts: tuple[str, ...], *, no_hosts: bool
) -> None:
    """Record the end of runs whose process died, and remove what they left, also on remote hosts.

    Removes guests that are no longer needed: those of dead runs, and kept guests that have expired.
    """
    from jerichoci.cleanup.gc import reap
    from jerichoci.cleanup.remote import check_hosts, reap_hosts
    from pikaci.location import open_state

    state = open_state(state_root, flake)
    state.make()
    if not no_hosts:
        check_hosts(state, hosts)
    reaped = reap(state)
    for run_id in reaped.runs:
        click.echo(f"closed {run_id}")
    for name in reaped.guests:
        click.echo(f"removed guest {name}")
    cleanups = [] if no_hosts else asyncio.run(reap_hosts(state, hosts))
    printed = [print_reaped(host) for host in cleanups]
    if not reaped.runs and not reaped.guests and not any(printed):
        click.echo("nothing to reap", err=True)


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
