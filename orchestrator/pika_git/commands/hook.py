"""`pika-git hook`: what tells the forge of a push at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pika_git.commands import options

if TYPE_CHECKING:
    from pathlib import Path

    from pika_git.data import DataDir


@click.group("hook")
def command() -> None:
    """Install the hook of a repository, or print it."""


@command.command("install")
@options.data
@click.argument("repo")
def install(data: DataDir, repo: str) -> None:
    """Install the hook in the repository registered as REPO.

    A hook that is there already runs after it. Without the hook a push is seen within seconds.
    """
    from pathlib import Path

    from pika_git.persistence import repos
    from pika_git.persistence.migrate import open_current

    data.make()
    with open_current(data).read() as connection:
        found = repos.named(connection, repo)
    if found is None:
        text = f"no repository is registered as {repo}\nhint: `pika-git repo list` lists them"
        raise click.ClickException(text)
    install_at(data, Path(found.path))


@command.command("print")
@options.data
def print_(data: DataDir) -> None:
    """Print the hook: the same for every repository of this forge."""
    from pika_git.forge_runtime.hook import script

    click.echo(script(data.hook_socket), nl=False)


def install_at(data: DataDir, path: Path) -> None:
    """Install the hook in the repository at `path`, and say where."""
    from pika_git.forge_runtime.hook import install
    from pika_git.git import GitError, Repository

    try:
        click.echo(f"hook: {install(Repository(path), data.hook_socket)}")
    except GitError as error:
        raise click.ClickException(str(error)) from None
