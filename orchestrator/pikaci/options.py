"""Options that several commands share, with one meaning everywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from pikaci.completion import complete_run, complete_target

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

flake = click.option(
    "--flake",
    metavar="DIR",
    help="Directory of the flake.  [default: the current directory, or one above it]",
)
system = click.option(
    "--system", metavar="SYSTEM", help="Nix system of the target, such as x86_64-linux."
)


def _checked_run_id(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    from jerichoci.state.ids import check_run_id

    return None if text is None else check_run_id(text)


run_id = click.option(
    "--run-id",
    metavar="ID",
    callback=_checked_run_id,
    help="Id of the new run, such as 20260131T235959Z-0123abcd.  [default: from the time]",
)


NULL_IDS = frozenset("0" * digits for digits in (40, 64))
"""What git and CI servers give for the commit before a branch's first."""


def commit_before(_ctx: click.Context, param: click.Parameter, rev: str | None) -> str | None:
    """A revision to compare with; None if any file may have changed."""
    if rev not in NULL_IDS:
        return rev
    click.echo(f"pikaci: {param.opts[0]} names no commit: any file may have changed", err=True)
    return None


def _checked_annotations(
    _ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str]:
    from jerichoci.state.annotations import parse_annotations

    return parse_annotations(texts)


annotate = click.option(
    "--annotate",
    "annotations",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_checked_annotations,
    help="Keep a note in the record of the run (repeatable).",
)
json_output = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


state_root = click.option(
    "--state-root",
    metavar="DIR",
    envvar="PIKACI_STATE_ROOT",
    help="Directory of the records.  [default: this repository's below $XDG_STATE_HOME/pikaci]",
)


def print_json(values: object) -> None:
    """Print values as indented JSON."""
    import json

    click.echo(json.dumps(values, indent=2, ensure_ascii=False))


def _adding(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """A decorator that adds options, in this order."""

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _gathering(
    gather: Callable[[dict[str, Any]], None], *options: Callable[[Any], Any]
) -> Callable[[Decorated], Decorated]:
    """A decorator that adds options, and lets `gather` change the values that a command gets."""

    def decorate(command: Decorated) -> Decorated:
        @wraps(command)
        def gathered(**values: Any) -> Any:  # noqa: ANN401 - as click hands them over
            gather(values)
            return command(**values)

        return _adding(*options)(cast("Decorated", gathered))

    return decorate


_STORES = frozenset({"store", "eval-store"})
_NIX_FLAGS = (
    click.option(
        "--override-input",
        "override_inputs",
        nargs=2,
        multiple=True,
        metavar="INPUT REF",
        help="Nix: use another flake for an input (repeatable).",
    ),
    click.option(
        "--option",
        "settings",
        nargs=2,
        multiple=True,
        metavar="NAME VALUE",
        help="Nix: set a setting (repeatable).",
    ),
    click.option("--builders", metavar="MACHINES", help="Nix: let these machines build."),
    click.option("--offline", is_flag=True, help="Nix: don't use the network."),
    click.option("--show-trace", is_flag=True, help="Nix: show where evaluation failed."),
)

print_logs = click.option(
    "-L", "--print-logs", is_flag=True, help="Print the output of builds and jobs."
)

run_flags = _adding(
    click.option(
        "--output",
        type=click.Choice(["human", "json", "jsonl"]),
        default="human",
        show_default=True,
        help="What to print on stdout: nothing, the final record, or each event as a line of JSON.",
    ),
    click.option(
        "--jobs",
        "-j",
        "max_jobs",
        type=click.IntRange(min=1),
        metavar="N",
        help="Run at most N jobs at once.  [default: what the machine has room for]",
    ),
    click.option("--fail-fast", is_flag=True, help="Stop the other jobs when one fails."),
    click.option(
        "--store",
        metavar="STORE",
        help="Let this store of Nix build, such as ssh-ng://HOST, and copy what is built here.",
    ),
    click.option(
        "--copy-to",
        metavar="STORE",
        help="Copy what is built to this store of Nix, as soon as it is there.",
    ),
    click.option(
        "--cache",
        type=click.Choice(["off", "read", "write"]),
        default="write",
        show_default=True,
        help="Use the caches of jobs, and publish what jobs that pass leave in them.",
    ),
    click.option("--no-cache", "cache", flag_value="off", help="The same as --cache off."),
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
        help="Wait until Incus has removed the guests, not just accepted the request.",
    ),
    annotate,
    click.option(
        "--branch",
        metavar="NAME",
        help="The run is of this branch: it has the secrets that are for it.",
    ),
    click.option(
        "--junit",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Write the results to FILE as JUnit XML: a suite for a target, a case for a job.",
    ),
    print_logs,
    click.option(
        "--log-format",
        type=click.Choice(["auto", "tty", "plain", "github", "gitlab", "forgejo", "teamcity"]),
        default="auto",
        show_default=True,
        help="How to show the run to people: as a terminal, a log file or a CI server reads it.",
    ),
)
"""How a run goes and is shown."""


def _gather_nix(values: dict[str, Any]) -> None:
    from jerichoci.nix.command import NixOptions

    names = ("override_inputs", "settings", "offline", "show_trace")
    given = {name: values.pop(name) for name in names}
    for name, _ in given["settings"]:
        if name in _STORES:
            from jerichoci.errors import UsageError

            raise UsageError(
                f"--option {name} is not supported: evaluation needs this machine's store",
                "`pikaci run --store` has another one build",
            )
    if (builders := values.pop("builders")) is not None:
        given["settings"] = (*given["settings"], ("builders", builders))
    values["nix"] = NixOptions(**given, print_logs=values.get("print_logs", False))


def _gather_flake(values: dict[str, Any]) -> None:
    from pikaci.location import FlakeOptions

    _gather_nix(values)
    names = ("flake", "system", "state_root", "nix")
    values["flake"] = FlakeOptions(*(values.pop(name) for name in names))


def _gather_store(values: dict[str, Any]) -> None:
    from pikaci.location import open_store

    values["store"] = open_store(values.pop("state_root"), values.pop("flake"))


def _gather_run(values: dict[str, Any]) -> None:
    _gather_store(values)
    values["run"] = values["store"].resolve(values["run"])


def _gather_found(values: dict[str, Any]) -> None:
    _gather_store(values)
    values["found"] = values["store"].find(values.pop("run"))


def _gather_runs(values: dict[str, Any]) -> None:
    _gather_store(values)
    values["runs"] = values["store"].resolve_many(values.pop("run"))


def _gather_hosts(values: dict[str, Any]) -> None:
    from jerichoci.cleanup.remote import check_hosts
    from pikaci.location import open_state

    state = values["state"] = open_state(values.pop("state_root"), values.pop("flake"))
    state.make()
    if values.pop("no_hosts"):
        values["hosts"] = None
    else:
        check_hosts(state, values["hosts"])


nix_flags = _gathering(_gather_nix, *_NIX_FLAGS)
"""Nix's own flags, with Nix's meanings: `nix`."""
flake_options = _gathering(_gather_flake, flake, system, state_root, *_NIX_FLAGS)
"""Which flake, for which system, and how Nix evaluates it: `flake`."""
records = _gathering(_gather_store, flake, state_root)
"""Whose records: `store`."""
_run_argument = click.argument(
    "run", metavar="[RUN]", default="latest", shell_complete=complete_run
)
run_records = _gathering(_gather_run, _run_argument, flake, state_root)
"""The records of RUN, by default the latest: `store` and `run`, its whole id."""
runs_records = _gathering(_gather_runs, _run_argument, flake, state_root)
"""The records of RUN, a run or a batch, by default the latest: `store` and `runs`, whole ids."""
found_records = _gathering(_gather_found, _run_argument, flake, state_root)
"""The same as `store` and `found`, which has the id of the batch, too."""
state_and_hosts = _gathering(
    _gather_hosts,
    click.option(
        "--host",
        "hosts",
        multiple=True,
        metavar="NAME",
        help="Clean up only this remote host (repeatable).",
    ),
    click.option("--no-hosts", is_flag=True, help="Clean up only this machine."),
    flake,
    state_root,
)
"""Where to clean up: `state`, and `hosts`, which is None for no hosts."""
target_argument = click.argument("target", metavar="TARGET", shell_complete=complete_target)
