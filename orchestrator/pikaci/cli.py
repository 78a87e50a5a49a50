"""The command group. A command's module is imported when that command is used, not before."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from jerichoci.exit_codes import EXIT_PASSED
from pikaci import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = {
    "run": "Run a target and record the result",
    "plan": "Show what a run of a target would do",
    "targets": "List the targets of the catalog",
    "lanes": "List the lanes that the CI server runs",
    "select": "Show which lanes a change selects, and why",
    "rerun": "Run a recorded plan again, on the same snapshot",
    "list": "List recorded runs",
    "status": "Show a run and its jobs",
    "failures": "Show what failed in a run, and why",
    "logs": "Print the logs of a run",
    "artifacts": "List or copy the files that jobs left",
    "report": "Write a page of all that a run left",
    "prepared-outputs": "Show what a run built for its jobs, and where",
    "attest": "Sign a statement of what a run built, or check one",
    "cancel": "Cancel a running run",
    "cache": "List or clear the caches of jobs",
    "gc": "Remove old runs and the data that only they need",
    "reap": "Clean up after runs whose process died",
    "image": "Build, import and list guest images",
    "pool": "List or remove the guests that stand by",
    "shell": "Open a shell in a kept workspace or guest",
    "serve": "Start a pikaci for each request on stdin, for programs",
    "hook": "Run what a push would run, before git pushes",
    "init": "Write a flake with a target into a repository",
    "doctor": "Check whether this machine can run targets",
    "schema": "Print the JSON Schema of a record or a command's --json",
}
MODULES = {
    **dict.fromkeys(("targets", "lanes", "select"), "catalog"),
    **dict.fromkeys(("list", "status", "prepared-outputs", "cancel"), "records"),
    **dict.fromkeys(("gc", "reap"), "cleanup"),
}
"""Where commands are; the others have a module of their own name."""


@contextmanager
def _our_ends() -> Iterator[None]:
    """Keep click from printing its own messages for an interrupt and a closed stdout."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.Abort from None
    except BrokenPipeError:
        # The reader of stdout closed it on purpose.
        raise click.exceptions.Exit(EXIT_PASSED) from None


class LazyGroup(click.Group):
    """A group that lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands, in the order in which users meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"pikaci.commands.{MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; the error for an unknown one suggests similar names."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from jerichoci.errors import UsageError
            from pikaci.nearest import did_you_mean

            guess = did_you_mean(args[0], COMMANDS)
            raise UsageError(
                f"unknown command {args[0]!r}", guess or "`pikaci --help` lists the commands"
            )
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:  # noqa: ANN401 - click's signature
        """Read the command line."""
        with _our_ends():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        with _our_ends():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every option has an environment variable: PIKACI_RUN_OUTPUT=jsonl is the same as"
    " `run --output jsonl`. `pikaci COMMAND --help` explains a command.",
)
@click.version_option(__version__, message="pikaci %(version)s")
def pikaci() -> None:
    """Run CI targets that are defined in Nix, the same way on a laptop and on a CI server.

    \b
    pikaci targets        list the targets of this repository
    pikaci run hello      run one
    pikaci status latest  show its result
    pikaci logs latest    show its output
    """
