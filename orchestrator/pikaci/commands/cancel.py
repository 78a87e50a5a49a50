"""`pikaci cancel`."""

from __future__ import annotations

import click

from pikaci import options


@click.command("cancel")
@options.run_argument
@options.flake
@options.state_root
def command(run: str, flake: str | None, state_root: str | None) -> None:
    """End RUN: its jobs get TERM, then KILL; its record says `cancelled`."""
    from jerichoci.record.cancel import cancel_run

    store = options.open_store(state_root, flake)
    run_id = store.resolve(run)
    cancel_run(store, run_id)
    click.echo(
        f"run {run_id} was told to end; `pikaci status {run_id}` tells when it has", err=True
    )
