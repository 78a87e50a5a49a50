"""`pikaci reap`."""

from __future__ import annotations

import click

from pikaci import options


@click.command("reap")
@options.flake
@options.state_root
def command(flake: str | None, state_root: str | None) -> None:
    """Close the runs whose process died and remove what they left behind.

    Guests go that nobody needs: those of dead runs, and those that were kept for long enough.
    """
    from jerichoci.collecting import reap

    state = options.open_state(state_root, flake)
    state.make()
    reaped = reap(state)
    for run_id in reaped.runs:
        click.echo(f"closed {run_id}")
    for name in reaped.guests:
        click.echo(f"removed guest {name}")
    if not reaped.runs and not reaped.guests:
        click.echo("nothing to reap", err=True)
