"""`ph health`."""

from __future__ import annotations

import click

from ph import options
from ph.commands.lanes import report
from ph.forge import Json, find_repo, rows
from ph.screen import ago, print_json, say, table
from ph.server import connect


@click.group("health", invoke_without_command=True)
@options.json_output
@click.pass_context
def health_command(ctx: click.Context, *, as_json: bool) -> None:
    """Show targets and hosts that failed by infrastructure, what is closed first."""
    if ctx.invoked_subcommand is not None:
        return
    health: Json = connect().get("health")
    if as_json:
        print_json(health)
        return
    cells = [
        (each.get("kind"), _name(each), each.get("state"), each.get("words"))
        for each in rows(health, "lines")
        if each.get("state") != "open" or each.get("failures")
    ]
    every = "every target and host is open"
    say(table(("WHAT", "NAME", "STATE", "WHY"), cells) if cells else every)
    past = [
        (ago(each.get("at"), health.get("now")), _name(each), each.get("what"), each.get("why"))
        for each in rows(health, "events")
    ]
    if past:
        say("\n" + table(("WHEN", "NAME", "WHAT", "WHY"), past))


@health_command.command("clear")
@click.argument("kind", type=click.Choice(["target", "host"]))
@click.argument("name")
@options.why
@options.repo
@options.json_output
def clear_command(kind: str, name: str, why: str, repo: str | None, *, as_json: bool) -> None:
    """Open a target or a host that is in cool-off. For admins."""
    server = connect()
    values = {"kind": kind, "name": name, "why": why}
    if kind == "target":
        values["repo"] = str(find_repo(server, repo).get("name"))
    report(server.post("health/clear", **values), as_json=as_json)


def _name(row: Json) -> str:
    return f"{row.get('name')} of {row['repo']}" if row.get("repo") else str(row.get("name"))
