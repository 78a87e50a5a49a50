"""`ph hook`: on the forge's own machine."""

from __future__ import annotations

import subprocess

import click

from ph.errors import UsageError


@click.group("hook")
def hook_command() -> None:
    """Tell the forge of pushes at once."""


@hook_command.command(
    "install", context_settings={"ignore_unknown_options": True, "help_option_names": []}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def install_command(arguments: tuple[str, ...]) -> int:
    """Install the hook in a bare repository of this machine: as `pika-git hook install` does."""
    try:
        return subprocess.run(["pika-git", "hook", "install", *arguments], check=False).returncode
    except FileNotFoundError:
        hint = "run this on the forge's machine"
        raise UsageError("there is no pika-git on this machine", hint) from None
