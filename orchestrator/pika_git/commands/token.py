"""`pika-git token`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pika_git.commands import options

if TYPE_CHECKING:
    from pika_git.data import DataDir


@click.command("token")
@options.data
@click.argument("name")
@click.option("--role", type=click.Choice(["read", "write", "admin"]), default="read")
def command(data: DataDir, name: str, role: str) -> None:
    """Make a token and print it, this once.

    The forge keeps its SHA-256 only. Who may read the forge's directory may make one.
    """
    from pika_git.forge_service import recovery
    from pika_git.forge_service.forge import Forge
    from pika_git.persistence.database import DatabaseError
    from pika_git.persistence.migrate import open_current

    try:
        forge = Forge(open_current(data.make()), data)
        click.echo(recovery.add_token(forge, name, role, by="pika-git token").secret)
    except DatabaseError as error:
        raise click.ClickException(error.message) from error
