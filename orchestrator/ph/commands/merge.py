"""`ph merge` and `ph close`."""

from __future__ import annotations

import time

import click

from ph import options
from ph.commands.lanes import report
from ph.commands.watch import LOOK_SECS
from ph.errors import RefusedError
from ph.forge import OVER, Json, find_branch
from ph.screen import print_json, say
from ph.server import Server, connect, segment

MERGE_SECS = 600.0
"""How long the server may look at a merge: git merges, and pikaci is asked for lanes."""
SETTLE_SECS = 20.0
"""How long after the end of its run a merge may take."""


@click.command("merge")
@options.branch_argument
@click.option("--force", is_flag=True, help="Merge though lanes are not green. For admins.")
@click.option("--wait", is_flag=True, help="If lanes run on the merge result, wait for them.")
@options.why_if_any
@options.repo
@options.json_output
def merge_command(
    branch: str | None, why: str, repo: str | None, *, force: bool, wait: bool, as_json: bool
) -> None:
    """Merge a branch into the default branch, on the server.

    What the target's lanes file requires must be green on the merge result. If the target has
    moved, the lanes that this concerns run on the merge result first; the branch is merged when
    they are green.
    """
    server = connect(patient=True)
    found = find_branch(server, branch, repo)
    path = f"branches/{segment(found['line'].get('id'))}"
    answer: Json = server.post(f"{path}/merge", MERGE_SECS, why=why, force=force)
    if answer.get("state") == "waiting" and wait:
        if not as_json:
            say(str(answer.get("message")))
        answer = _until_merged(server, path, answer)
    if as_json:
        print_json(answer)
    else:
        say(f"{answer.get('message')}: {answer.get('merge_commit')}")


@click.command("close")
@options.branch_argument
@options.why
@options.repo
@options.json_output
def close_command(branch: str | None, why: str, repo: str | None, *, as_json: bool) -> None:
    """Close a branch: what its lanes still do is cancelled. A push opens it again."""
    server = connect()
    found = find_branch(server, branch, repo)
    answer = server.post(f"branches/{segment(found['line'].get('id'))}/close", why=why)
    report(answer, as_json=as_json)


def _until_merged(server: Server, path: str, answer: Json) -> Json:
    run_id, end = answer.get("run_id"), None
    while True:
        line = server.get(path)["line"]
        if line.get("state") == "merged":
            commit = line.get("merge_commit")
            return {**answer, "state": "merged", "message": "merged", "merge_commit": commit}
        state = server.get(f"runs/{segment(run_id)}")["line"].get("state")
        if state in OVER and end is None:
            end = time.monotonic() + SETTLE_SECS
        if state in OVER and state != "success":
            raise RefusedError(f"not merged: run {run_id}, on the merge result, is {state}")
        if end is not None and time.monotonic() > end:
            raise RefusedError("not merged: a branch moved meanwhile", "merge again")
        time.sleep(LOOK_SECS)
