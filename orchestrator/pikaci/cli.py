"""The command group. A command's module is imported when that command is used, not before."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from jerichoci.errors import EXIT_PASSED
from pikaci import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = {
    "run": "Run a target and keep its records",
    "plan": "Show what a target would do",
    "targets": "List the targets of the catalog",
    "lanes": "List the lanes that the forge runs",
    "select": "Tell which lanes a change selects, and why",
    "rerun": "Run a recorded plan on its recorded snapshot again",
    "list": "List the runs",
    "status": "Show a run and its jobs",
    "logs": "Print what a run's jobs said",
    "prepared-outputs": "Show what a run prepared",
    "cancel": "End a run that is going on",
    "gc": "Remove old runs and what only they needed",
    "reap": "Close runs whose process died, remove what they left",
    "image": "Build guests' images, import them into Incus, list them",
    "shell": "Open a shell in what was kept of a job",
    "doctor": "Check what this machine has for pikaci",
    "schema": "Print the JSON Schema of a record",
}


@contextmanager
def _our_ends() -> Iterator[None]:
    """Two ends for which click has words and exit codes of its own."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.Abort from None
    except BrokenPipeError:
        # Whoever read stdout has seen enough.
        raise click.exceptions.Exit(EXIT_PASSED) from None


class LazyGroup(click.Group):
    """A group that knows its commands' names and one line of each by heart."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands, in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"pikaci.commands.{cmd_name.replace('-', '_')}")
        command = module.command
        if not isinstance(command, click.Command):
            raise TypeError(f"{module.__name__}.command is no command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; one that isn't there gets the nearest names."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from jerichoci.errors import UsageError
            from pikaci.nearest import did_you_mean

            guess = did_you_mean(args[0], COMMANDS)
            raise UsageError(
                f"there is no command {args[0]!r}", guess or "`pikaci --help` lists them"
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
    epilog="Every flag has an environment variable: PIKACI_RUN_OUTPUT=jsonl stands for"
    " `run --output jsonl`. `pikaci COMMAND --help` tells more.",
)
@click.version_option(__version__, message="pikaci %(version)s")
def pikaci() -> None:
    """Run CI targets that are defined in Nix, the same way on a laptop and in the forge.

    \b
    pikaci targets        what there is to run
    pikaci run hello      run it; the record stays
    pikaci status latest  how it went
    pikaci logs latest    what it said
    """
