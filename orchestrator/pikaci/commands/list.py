"""`pikaci list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pikaci import options
from pikaci.screen import table

if TYPE_CHECKING:
    from jerichoci.record.store import RunStore


@click.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N")
@options.json_output
@options.records
def command(store: RunStore, limit: int, *, as_json: bool) -> None:
    """List the newest runs. A run whose record can't be read is marked so."""
    from pikaci.render.words import between

    runs = store.list_runs(limit)
    if as_json:
        options.print_json([run.as_dict() for run in runs])
        return
    if not runs:
        click.echo("no runs yet; start one with `pikaci run TARGET`", err=True)
        return
    rows = [
        (
            run.run_id,
            run.target_id or "?",
            "unreadable" if run.unreadable else f"{run.status or '?'}{', partial' * run.partial}",
            run.failure_kind or "",
            between(run.created_at, run.finished_at),
            run.unreadable or run.message or "",
        )
        for run in runs
    ]
    click.echo(table(("RUN", "TARGET", "STATUS", "KIND", "TOOK", "MESSAGE"), rows))
