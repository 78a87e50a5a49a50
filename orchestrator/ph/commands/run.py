"""`ph run`."""

from __future__ import annotations

import click

from ph import checkout, options
from ph.commands.lanes import report
from ph.errors import UsageError
from ph.forge import HEADS, find_repo
from ph.server import connect


@click.command("run")
@options.branch_argument
@click.option("--lane", "lanes", multiple=True, metavar="LANE", help="Run a lane (repeatable).")
@click.option("--target", "targets", multiple=True, metavar="TARGET", help="Run a target.")
@options.why_if_any
@options.repo
@options.json_output
def run_command(
    branch: str | None,
    lanes: tuple[str, ...],
    targets: tuple[str, ...],
    why: str,
    repo: str | None,
    *,
    as_json: bool,
) -> None:
    """Start lanes or targets of a branch's head by hand; they go before what pushes started."""
    if bool(lanes) == bool(targets):
        raise UsageError("name lanes with --lane, or targets with --target")
    server = connect()
    name = branch or checkout.current_branch()
    values: dict[str, object] = {"repo": find_repo(server, repo).get("name"), "why": why}
    values["ref"] = name if name.startswith("refs/") else HEADS + name
    values |= {"lanes": list(lanes)} if lanes else {"targets": list(targets)}
    report(server.post("runs", **values), as_json=as_json)
