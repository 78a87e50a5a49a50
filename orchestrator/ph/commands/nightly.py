"""`ph nightly`."""

from __future__ import annotations

import time

import click

from ph import options
from ph.commands.lanes import report
from ph.forge import Json, find_repo, rows
from ph.screen import print_json, say, table
from ph.server import connect


@click.group("nightly", invoke_without_command=True)
@options.json_output
@click.pass_context
def nightly_command(ctx: click.Context, *, as_json: bool) -> None:
    """Show the times at which nightly lanes were due, and what became of them."""
    if ctx.invoked_subcommand is not None:
        return
    nightly: Json = connect().get("nightly")
    if as_json:
        print_json(nightly)
        return
    cells = [
        (each.get("repo"), _time(each.get("slot_at")), each.get("state"), _what(each))
        for each in rows(nightly, "slots")
    ]
    say(table(("REPO", "DUE (UTC)", "STATE", "WHAT"), cells) if cells else "no slot was due yet")


@nightly_command.command("run")
@options.why_if_any
@options.repo
@options.json_output
def run_nightly_command(why: str, repo: str | None, *, as_json: bool) -> None:
    """Start the nightly lanes now. For admins."""
    server = connect()
    name = find_repo(server, repo).get("name")
    report(server.post("nightly/run", repo=name, why=why), as_json=as_json)


def _time(at: float | None) -> str:
    return "?" if at is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))


def _what(slot: Json) -> str:
    run = slot.get("run") or {}
    said = f"run {run['id']}: {run.get('summary') or run.get('state')}" if "id" in run else ""
    return " - ".join(filter(None, [said, slot.get("note")]))
