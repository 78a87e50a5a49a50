"""`pikaci schema`."""

from __future__ import annotations

import click

NAMES = ("plan", "run", "job", "prepared-outputs", "event")


@click.command("schema")
@click.argument("name", type=click.Choice(NAMES))
def command(name: str) -> None:
    """Print the JSON Schema of a record: plan, run, job, prepared-outputs or event."""
    from jerichoci.record.schema import schema_text

    click.echo(schema_text(name), nl=False)
