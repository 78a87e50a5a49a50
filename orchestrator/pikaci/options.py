"""Options that several commands share. They mean the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from jerichoci.nix.command import NixOptions
    from jerichoci.record.store import RunStore
    from jerichoci.state.layout import StateLayout

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

flake = click.option(
    "--flake",
    metavar="DIR",
    help="Directory of the flake; by default the one around the current directory.",
)
system = click.option(
    "--system", metavar="SYSTEM", help="Nix system whose target is meant, such as x86_64-linux."
)
run_id = click.option(
    "--run-id",
    metavar="ID",
    help="The new run's id, such as 20260131T235959Z-0123abcd; by default one of the time.",
)
json_output = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def state_root(command: Decorated) -> Decorated:
    """Where the records are."""
    return click.option(
        "--state-root",
        metavar="DIR",
        envvar="PIKACI_STATE_ROOT",
        help="Where records live; by default a directory of this repository's under"
        " $XDG_STATE_HOME/pikaci.",
    )(command)


def nix_flags(command: Decorated) -> Decorated:
    """Nix's own flags, with Nix's meanings."""
    for option in reversed(
        (
            click.option(
                "--override-input",
                "override_inputs",
                nargs=2,
                multiple=True,
                metavar="INPUT REF",
                help="Nix: use another flake for an input; may be given again.",
            ),
            click.option(
                "--option",
                "settings",
                nargs=2,
                multiple=True,
                metavar="NAME VALUE",
                help="Nix: set a setting; may be given again.",
            ),
            click.option("--offline", is_flag=True, help="Nix: don't use the network."),
            click.option("--show-trace", is_flag=True, help="Nix: show where evaluation failed."),
        )
    ):
        command = option(command)
    return command


def run_flags(command: Decorated) -> Decorated:
    """How a run goes and is shown."""
    for option in reversed(
        (
            click.option(
                "--output",
                type=click.Choice(["human", "json", "jsonl"]),
                default="human",
                show_default=True,
                help="What goes to stdout: nothing, the final record, or events as lines of JSON.",
            ),
            click.option(
                "--jobs",
                "-j",
                "max_jobs",
                type=click.IntRange(min=1),
                metavar="N",
                help="Run at most N jobs at once.  [default: what the machine has room for]",
            ),
            click.option("--fail-fast", is_flag=True, help="End the other jobs when one fails."),
            click.option(
                "--keep",
                type=click.Choice(["never", "on-failure", "always"]),
                default="never",
                show_default=True,
                help="Keep the workspaces and guests of jobs for `pikaci shell`.",
            ),
            click.option(
                "--wait-removal",
                is_flag=True,
                help="End when the guests of the run are gone, not when Incus was asked to.",
            ),
            click.option(
                "-L",
                "--print-logs",
                is_flag=True,
                help="Print build logs and jobs' output as well.",
            ),
        )
    ):
        command = option(command)
    return command


def nix_options(
    override_inputs: tuple[tuple[str, str], ...],
    settings: tuple[tuple[str, str], ...],
    offline: bool,  # noqa: FBT001 - as click hands it over
    show_trace: bool,  # noqa: FBT001 - as click hands it over
) -> NixOptions:
    """Nix's flags as the engine takes them."""
    from jerichoci.nix.command import NixOptions

    return NixOptions(override_inputs, settings, offline, show_trace)


def which_hosts(command: Decorated) -> Decorated:
    """On which hosts to clean up as well."""
    for option in reversed(
        (
            click.option(
                "--host",
                "hosts",
                multiple=True,
                metavar="NAME",
                help="Of the hosts, only this one; may be given again.",
            ),
            click.option("--no-hosts", is_flag=True, help="Only this machine."),
        )
    ):
        command = option(command)
    return command


def run_argument(command: Decorated) -> Decorated:
    """The run a command is about."""
    return click.argument("run", metavar="RUN", shell_complete=complete_run)(command)


def target_argument(command: Decorated) -> Decorated:
    """The target a command is about."""
    return click.argument("target", metavar="TARGET", shell_complete=complete_target)(command)


def open_state(state_root: str | None, flake: str | None = None) -> StateLayout:
    """The state root that a command means."""
    from jerichoci.errors import UsageError
    from pikaci.location import find_source, state_layout

    if state_root:
        return state_layout(state_root, None)
    try:
        source = find_source(flake)
    except UsageError as error:
        hint = f"{error.hint}, or name the directory of the records with --state-root"
        raise UsageError(error.message, hint) from None
    return state_layout(None, source)


def open_store(state_root: str | None, flake: str | None = None) -> RunStore:
    """The runs of the state root that a command means."""
    from jerichoci.record.store import RunStore

    return RunStore(open_state(state_root, flake).root)


def complete_run(ctx: click.Context, _param: click.Parameter, text: str) -> list[CompletionItem]:
    """Ids of the newest runs that begin with what was typed."""
    from click.shell_completion import CompletionItem

    from jerichoci.errors import PikaciError

    try:
        store = open_store(ctx.params.get("state_root"), ctx.params.get("flake"))
        runs = store.list_runs(limit=20)
    except PikaciError:
        return []
    rows = [CompletionItem(run.run_id, help=f"{run.target_id} {run.status}") for run in runs]
    latest = [CompletionItem("latest", help="the newest run")] if rows else []
    return [row for row in [*latest, *rows] if str(row.value).startswith(text)]


def complete_job(ctx: click.Context, _param: click.Parameter, text: str) -> list[CompletionItem]:
    """Jobs of the run, or of the target, that begin with what was typed."""
    from click.shell_completion import CompletionItem

    from jerichoci.errors import PikaciError
    from jerichoci.record.store import LATEST

    # click reads no arguments from a line that ends in `--job`.
    given = next(iter(ctx.args), None)
    try:
        if any(param.name == "target" for param in ctx.command.params):
            target = ctx.params.get("target") or given
            rows = [row["jobs"] for row in _targets(ctx) if row["id"] == target]
            names = [name for row in rows for name in row]
        else:
            store = open_store(ctx.params.get("state_root"), ctx.params.get("flake"))
            run_id = store.resolve(ctx.params.get("run") or given or LATEST)
            names = [job.id for job in store.summary(run_id).jobs]
    except PikaciError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(text)]


def complete_target(ctx: click.Context, _param: click.Parameter, text: str) -> list[CompletionItem]:
    """Targets of the catalog that begin with what was typed."""
    from click.shell_completion import CompletionItem

    from jerichoci.errors import PikaciError

    try:
        rows = [(target["id"], target.get("title")) for target in _targets(ctx)]
    except PikaciError:
        return []
    return [CompletionItem(name, help=title) for name, title in rows if name.startswith(text)]


def _targets(ctx: click.Context) -> list[dict[str, Any]]:
    import asyncio
    import io
    from contextlib import redirect_stderr

    from pikaci.catalog import load_catalog

    state_root, flake = ctx.params.get("state_root"), ctx.params.get("flake")
    with redirect_stderr(io.StringIO()):  # a note would be in the middle of what is typed
        found: list[dict[str, Any]] = asyncio.run(load_catalog(state_root, flake))["targets"]
    return found
