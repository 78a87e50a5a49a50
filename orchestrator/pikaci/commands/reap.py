"""`pikaci reap`."""

from __future__ import annotations

import click

from pikaci import options


@click.command("reap")
@options.flake
@options.state_root
def command(flake: str | None, state_root: str | None) -> None:
    """Close the runs whose process died and remove what they left behind."""
    from jerichoci.collecting import reap

    state = options.open_state(state_root, flake)
    state.make()
    closed = reap(state)
    for run_id in closed:
        click.echo(f"closed {run_id}")
    if not closed:
        click.echo("nothing to reap", err=True)
