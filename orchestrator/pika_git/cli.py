"""The `pika-git` command line: what runs on the forge's own machine."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS: dict[str, str] = {
    "demo": "demo",
    "repo": "repo",
    "hook": "hook",
    "serve": "serve",
    "token": "token",
    "worker": "worker",
}
"""The module below `pika_git.commands` of each command, imported when it is asked for."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        found = import_module(f"pika_git.commands.{COMMANDS[cmd_name]}").command
        assert isinstance(found, click.Command)  # noqa: S101 - each module has one
        return found


@click.group(cls=_Lazy)
def run() -> None:
    """Turn pushes into verdicts."""
