"""Options that many commands have."""

from __future__ import annotations

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
why = click.option("--why", metavar="TEXT", default="", help="Why; kept in the audit.")
branch_argument = click.argument("branch", required=False)
lane_argument = click.argument("lane")


def of_a_lane(command: F) -> F:
    """A command about LANE: a name in the newest run of a branch, or a number."""
    return lane_argument(branch(repo(json_output(command))))


def of_a_branch(command: F) -> F:
    """A command about BRANCH, by default the one checked out."""
    return branch_argument(repo(json_output(command)))
