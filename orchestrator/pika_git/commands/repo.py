"""`pika-git repo`: the repositories whose pushes run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pika_git.commands import options

if TYPE_CHECKING:
    from pika_git.data import DataDir


@click.group("repo")
def command() -> None:
    """Register repositories, and list them."""


@command.command("add")
@options.data
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path, file_okay=False))
@click.option("--default-branch", metavar="REF", help="[default: that of its HEAD]")
@click.option(
    "--run-refs",
    multiple=True,
    metavar="PATTERN",
    help="Full refs whose pushes run (repeatable).  [default: all branches]",
)
@click.option("--flake-dir", default="", metavar="DIR", help="Where its flake is.")
@click.option("--cancel-superseded", is_flag=True, help="A newer push ends lanes that run.")
@click.option("--hook/--no-hook", default=True, help="Install the hook, too.  [default: --hook]")
def add(
    data: DataDir,
    name: str,
    path: Path,
    default_branch: str | None,
    run_refs: tuple[str, ...],
    flake_dir: str,
    *,
    cancel_superseded: bool,
    hook: bool,
) -> None:
    """Register the bare repository at PATH as NAME.

    Anyone who can push to it can run commands on the forge's workers: the catalog of a pushed head
    is evaluated, and its lanes are run.
    """
    from pika_git.forge_runtime.registering import InvalidRepositoryError, register
    from pika_git.persistence.migrate import open_current
    from pika_git.persistence.repos import BRANCHES

    data.make()
    try:
        repo = register(
            open_current(data),
            name,
            path,
            default_branch=default_branch,
            run_refs=run_refs or (BRANCHES,),
            flake_dir=flake_dir,
            cancel_superseded=cancel_superseded,
        )
    except InvalidRepositoryError as error:
        raise click.ClickException(_with_hint(error.message, error.hint)) from None
    click.echo(f"repository {repo}: {name}")
    if hook:
        from pika_git.commands.hook import install_at

        install_at(data, path.resolve())


@command.command("list")
@options.data
def list_(data: DataDir) -> None:
    """List the repositories."""
    from pika_git.persistence import repos
    from pika_git.persistence.migrate import open_current

    data.make()
    with open_current(data).read() as connection:
        for repo in repos.every(connection):
            state = repo.problem or ("paused" if repo.paused else "fine")
            click.echo(f"{repo.id}\t{repo.name}\t{repo.path}\t{repo.default_branch}\t{state}")


def _with_hint(message: str, hint: str | None) -> str:
    return f"{message}\nhint: {hint}" if hint else message
