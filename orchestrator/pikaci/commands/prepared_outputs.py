"""`pikaci prepared-outputs`."""

from __future__ import annotations

import click

from pikaci import options


@click.command("prepared-outputs")
@options.run_argument
@options.json_output
@options.flake
@options.state_root
def command(run: str, flake: str | None, state_root: str | None, *, as_json: bool) -> None:
    """Show what RUN prepared and where it is."""
    from pikaci.table import table

    store = options.open_store(state_root, flake)
    record = store.load_prepared_outputs(store.resolve(run))
    if as_json:
        click.echo(record.model_dump_json(indent=2))
        return
    rows = [
        (row.node_id, str(row.outcome), "yes" if row.cached else "no", row.path or "")
        for row in record.outputs
    ]
    click.echo(table(("NODE", "OUTCOME", "CACHED", "PATH"), rows))
