"""Options that many commands have."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

json_output = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
repo = click.option(
    "--repo",
    metavar="NAME",
    envvar="PH_REPO",
    help="The repository; by default the one that this checkout's remote is.",
)
branch = click.option(
    "--branch", metavar="BRANCH", help="The branch; by default the one checked out here."
)
branch_argument = click.argument("branch", required=False)
lane_argument = click.argument("lane")


def _asked(_ctx: click.Context, _param: click.Parameter, why: str | None) -> str:
    if why is not None and why.strip():
        return why
    if sys.stdin.isatty():
        entered: str = click.prompt("why", err=True)
        return entered
    raise click.UsageError("say why, with --why TEXT: it is kept in the audit")


why = click.option("--why", metavar="TEXT", callback=_asked, help="Why; kept in the audit.")
why_if_any = click.option("--why", metavar="TEXT", default="", help="Why; kept in the audit.")


def of_a_lane(command: F) -> F:
    """A command about LANE: a name in the newest run of a branch, or a number."""
    return lane_argument(branch(repo(json_output(command))))


def of_a_branch(command: F) -> F:
    """A command about BRANCH, by default the one checked out."""
    return branch_argument(repo(json_output(command)))
