"""What is done to lanes and runs: `ph cancel`, `rerun`, `requeue`, `fail`, `wake`, `recover`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ph import options
from ph.errors import UsageError
from ph.forge import find_lane, find_run
from ph.screen import print_json, say
from ph.server import connect, segment

if TYPE_CHECKING:
    from collections.abc import Callable

_lane_or_run = click.argument("lane", required=False)
_run = click.option("--run", "run_id", type=int, help="All lanes of this run.")


def report(answer: Any, *, as_json: bool) -> None:  # noqa: ANN401 - JSON
    """Print what the server says it did."""
    if as_json:
        print_json(answer)
    elif "done" in answer:
        say(str(answer["done"]))
    else:
        say(f"run {answer.get('run_id')}: `ph wait --run {answer.get('run_id')}`")


def _of_both(name: str, doc: str, why: Callable[[Any], Any]) -> click.Command:
    """A command about a lane, or about all lanes of a run."""

    @click.command(name, help=doc)
    @_lane_or_run
    @_run
    @why
    @options.branch
    @options.repo
    @options.json_output
    def command(
        lane: str | None,
        run_id: int | None,
        why: str,
        branch: str | None,
        repo: str | None,
        *,
        as_json: bool,
    ) -> None:
        if lane is not None and run_id is not None:
            raise UsageError("LANE and --run exclude each other")
        server = connect()
        if lane is not None:
            path = f"lanes/{segment(find_lane(server, lane, branch, repo)[1].get('id'))}"
        elif run_id is not None or branch is not None:
            path = f"runs/{segment(find_run(server, run_id, branch, repo)['line'].get('id'))}"
        else:
            raise UsageError(
                "which lane?", "name a LANE, or --run or --branch for all of its lanes"
            )
        report(server.post(f"{path}/{name}", why=why), as_json=as_json)

    return command


def _of_a_lane(name: str, doc: str, why: Callable[[Any], Any]) -> click.Command:
    """A command about a lane."""

    @click.command(name, help=doc)
    @options.of_a_lane
    @why
    def command(
        lane: str, branch: str | None, repo: str | None, why: str, *, as_json: bool
    ) -> None:
        server = connect()
        _, found = find_lane(server, lane, branch, repo)
        report(server.post(f"lanes/{segment(found['id'])}/{name}", why=why), as_json=as_json)

    return command


cancel_command = _of_both(
    "cancel",
    "Cancel a lane: at once if it waits, else when its run is gone. Or all of a run.",
    options.why,
)
rerun_command = _of_both(
    "rerun",
    "Run a lane, or all lanes of a run, again: in a new run that names the old one.",
    options.why_if_any,
)
requeue_command = _of_a_lane(
    "requeue",
    "Put a lane back into the queue: what it has is given up, and it keeps its place in line.",
    options.why,
)
fail_command = _of_a_lane(
    "fail", "End a lane as failed, whatever it does. For admins.", options.why
)
wake_command = _of_a_lane("wake", "Have what keeps a lane looked at again.", options.why_if_any)


@click.command("recover")
@click.argument("run_id", metavar="RUN", type=int)
@options.why
@options.json_output
def recover_command(run_id: int, why: str, *, as_json: bool) -> None:
    """Bring a run to an end that can't end by itself: lanes that no worker has fail. For admins."""
    report(connect().post(f"runs/{run_id}/recover", why=why), as_json=as_json)
