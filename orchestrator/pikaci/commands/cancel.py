"""`pikaci cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pikaci import options

if TYPE_CHECKING:
    from jerichoci.record.store import RunStore


@click.command("cancel")
@options.run_records
def command(store: RunStore, run: str) -> None:
    """End RUN: its jobs get TERM, then KILL; its record says `cancelled`."""
    from jerichoci.record.cancel import cancel_run

    cancel_run(store, run)
    click.echo(f"run {run} was told to end; `pikaci status {run}` tells when it has", err=True)
