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
    """Cancel RUN: its jobs get TERM, 10 s later KILL. The run ends as `cancelled`."""
    from jerichoci.record.cancel import cancel_run

    cancel_run(store, run)
    click.echo(f"cancelling run {run}; `pikaci status {run}` shows when it has ended", err=True)
