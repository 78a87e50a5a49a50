"""The command group. A command's module is imported when that command is used, not before."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

import click

from ph.errors import EXIT_FINE, EXIT_INTERRUPTED, PhError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "login": ("login", "Keep a server's address and a token for it"),
    "whoami": ("login", "Show who the server takes you for"),
    "status": ("status", "Show a branch: its lanes, and what each waits for"),
    "watch": ("watch", "Show a branch until its lanes have ended"),
    "wait": ("watch", "Wait for a branch's lanes and exit with the verdict"),
    "logs": ("logs", "Print the log of a lane; -f follows it"),
    "explain": ("explain", "Tell a lane's story: what it waited for, and for how long"),
    "repro": ("explain", "Print the command that runs a lane's target here"),
    "run": ("run", "Start lanes or targets of a branch by hand"),
    "cancel": ("lanes", "Cancel a lane, or all of a branch"),
    "rerun": ("lanes", "Run a lane again, or all of a branch"),
    "requeue": ("lanes", "Put a running lane back into the queue"),
    "fail": ("lanes", "End a lane as failed"),
    "wake": ("lanes", "Have the scheduler look at a lane again"),
    "recover": ("lanes", "Bring a run whose state is wrong to an end"),
    "merge": ("merge", "Merge a branch when what the target requires is green"),
    "close": ("merge", "Close a branch: its lanes are cancelled"),
    "queue": ("queue", "List what waits and runs; pause and resume the queue"),
    "drain": ("queue", "Let a worker finish what it has and take nothing new"),
    "resume": ("queue", "Let a drained worker take lanes again"),
    "health": ("health", "Show targets and hosts in cool-off; clear them"),
    "nightly": ("nightly", "Show the nightly slots; start one now"),
    "repo": ("repo", "List and add repositories"),
    "hook": ("hook", "Install the hook that tells the forge of pushes"),
    "admin": ("admin", "Make, list and revoke tokens"),
}
"""Each command's module in `ph.commands`, and what it does."""


class LazyGroup(click.Group):
    """A group that lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands, in the order in which users meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"ph.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="PH_URL and PH_TOKEN name the server and the token, PH_REPO the repository."
    " Exit codes: 0 fine, 1 failed, 2 usage, 4 not allowed, 75 server lost.",
)
def ph() -> None:
    """Ask the forge about your branches, and tell it what to do.

    \b
    ph status             your branch: its lanes, and what each waits for
    ph logs LANE -f       what a lane prints
    ph explain LANE       why it waited, and why it failed
    ph merge              merge the branch once it is green
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; its exit code."""
    try:
        found = ph.main(arguments, prog_name="ph", standalone_mode=False)
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except BrokenPipeError:  # the reader of stdout closed it on purpose
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FINE
    return found if isinstance(found, int) else EXIT_FINE


def _show(error: click.ClickException) -> None:
    from ph.screen import note

    note(f"ph: {error.format_message()}")
    if isinstance(error, PhError) and error.hint:
        note(f"hint: {error.hint}")
    elif isinstance(error, click.UsageError) and error.ctx is not None:
        note(f"hint: `{error.ctx.command_path} --help`")
