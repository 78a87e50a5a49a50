"""`pikaci pool`: the guests that stand by."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pikaci import options
from pikaci.screen import table

if TYPE_CHECKING:
    from jerichoci.record.store import RunStore

MINUTE_SECS = 60


@click.command("pool")
@click.option("--clear", is_flag=True, help="Remove them.")
@options.json_output
@options.records
def pool_command(store: RunStore, *, clear: bool, as_json: bool) -> None:
    """List the guests that stand by for jobs, the oldest first, or remove them.

    There are none unless the hosts file has `[local.standby]`.
    """
    from jerichoci.runtime.incus import standby

    if clear:
        names = standby.clear(store.layout)
        click.echo(f"removed {len(names)} guests")
        return
    found = standby.look(store.layout)
    if as_json:
        options.print_json([asdict(row) for row in found])
        return
    if not found:
        click.echo("no guest stands by", err=True)
        return
    now = time.time()
    rows = []
    for row in found:
        age, left = now - row.made_at, max(0, row.kept_until - now)
        minutes = f"{age / MINUTE_SECS:.0f}", f"{left / MINUTE_SECS:.0f}"
        rows.append((row.name, row.image, row.state, *minutes))
    click.echo(table(("GUEST", "IMAGE", "STATE", "MINUTES", "LEFT"), rows))
