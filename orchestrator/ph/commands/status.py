"""`ph status`."""

from __future__ import annotations

import click

from ph import options
from ph.forge import find_branch, find_run
from ph.screen import print_json, say
from ph.server import connect
from ph.words import branch_words, lanes_table, run_words


@click.command("status")
@options.of_a_branch
@click.option("--run", "run_id", type=int, help="Show this run instead of the branch's newest.")
def status_command(
    branch: str | None, repo: str | None, run_id: int | None, *, as_json: bool
) -> None:
    """Show a branch: its newest run with all lanes, failures first, and what each waits for."""
    server = connect()
    if run_id is not None:
        run = find_run(server, run_id, None, None)
        print_json(run) if as_json else show_run(run)
        return
    found = find_branch(server, branch, repo)
    if as_json:
        print_json(found)
        return
    say(branch_words(found))
    if found.get("run"):
        show_run(found["run"])
    else:
        say("no run yet: the forge looks at it within seconds of a push")


def show_run(run: dict[str, object]) -> None:
    """Print a run with its lanes."""
    say(run_words(run))
    if run.get("lanes"):
        say()
        say(lanes_table(run))
