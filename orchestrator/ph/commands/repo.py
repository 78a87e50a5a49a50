"""`ph repo`."""

from __future__ import annotations

import click

from ph import options
from ph.forge import HEADS, rows
from ph.screen import print_json, say, table
from ph.server import connect


@click.group("repo")
def repo_command() -> None:
    """List and add the repositories whose pushes the forge runs."""


@repo_command.command("list")
@options.json_output
def list_command(*, as_json: bool) -> None:
    """List the repositories."""
    answer = connect().get("repos")
    if as_json:
        print_json(answer)
        return
    cells = [
        (
            each.get("name"),
            str(each.get("default_branch")).removeprefix(HEADS),
            each.get("error") or ("paused" if each.get("paused") else "fine"),
            each.get("path"),
        )
        for each in rows(answer, "repos")
    ]
    say(table(("NAME", "DEFAULT", "STATE", "PATH"), cells))


@repo_command.command("add")
@click.argument("name")
@click.argument("path")
@click.option("--default-branch", metavar="BRANCH", help="[default: that of its HEAD]")
@options.json_output
def add_command(name: str, path: str, default_branch: str | None, *, as_json: bool) -> None:
    """Register the bare repository at PATH on the forge's machine. For admins.

    The catalog of each head that is pushed there is evaluated, and its lanes' commands are run.
    """
    values = {"name": name, "path": path}
    if default_branch is not None:
        is_full = default_branch.startswith("refs/")
        values["default_branch"] = default_branch if is_full else HEADS + default_branch
    answer = connect().post("repos", **values)
    if as_json:
        print_json(answer)
    else:
        say(f"{name} is registered; `pika-git hook install {name}` there makes pushes seen at once")
