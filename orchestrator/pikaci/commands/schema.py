"""`pikaci schema`."""

from __future__ import annotations

import click

NAMES = (
    *("plan", "plan-set", "run", "job", "prepared-outputs", "batch", "event"),
    *("list", "status", "targets", "lanes", "select", "failures"),
)


@click.command("schema")
@click.argument("name", type=click.Choice(NAMES))
def schema_command(name: str) -> None:
    """Print the JSON Schema of a record, or of what a command prints with --json."""
    from pikaci.schemas import described, schema_text

    click.echo(schema_text(described()[name]), nl=False)
