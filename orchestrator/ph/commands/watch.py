"""`ph watch` and `ph wait`: until a branch's lanes have ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ph import options
from ph.errors import EXIT_FAILED, EXIT_FINE, RefusedError
from ph.forge import GREEN, OVER, find_branch, rows
from ph.screen import print_json, say
from ph.server import Server, connect, segment
from ph.words import branch_words, clock, lane_words, run_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from ph.forge import Json

LOOK_SECS = 1.0
NO_RUN_SECS = 30.0
"""How long a branch may have no run: the forge takes seconds to see a push."""

_run = click.option("--run", "run_id", type=int, help="Wait for this run, not for the newest.")
_timeout = click.option("--timeout", type=float, metavar="SECS", help="Give up after that long.")


@click.command("watch")
@options.of_a_branch
@_run
@_timeout
def watch_command(
    branch: str | None,
    repo: str | None,
    run_id: int | None,
    timeout: float | None,
    *,
    as_json: bool,
) -> int:
    """Print what changes in a branch's newest run until its lanes have ended.

    The exit code is the verdict: 0 if it is green, 1 if it is not.
    """
    said: dict[object, tuple[object, object]] = {}

    def show(run: Json) -> None:
        for lane in rows(run, "lanes"):
            wait = lane.get("wait") or {}
            now = (lane.get("state"), wait.get("code"))
            if said.get(lane.get("id")) != now and not as_json:
                said[lane.get("id")] = now
                at = clock(run.get("now") or time.time())
                say(f"{at}  {lane.get('name')}  {lane.get('state')}  {lane_words(lane)}".rstrip())

    return _end(branch, repo, run_id, timeout, show, as_json=as_json)


@click.command("wait")
@options.of_a_branch
@_run
@_timeout
def wait_command(
    branch: str | None,
    repo: str | None,
    run_id: int | None,
    timeout: float | None,
    *,
    as_json: bool,
) -> int:
    """Wait until the lanes of a branch's newest run have ended, and exit with the verdict.

    0 if it is green, 1 if it is not. A lost connection is waited out for a minute.
    """
    return _end(branch, repo, run_id, timeout, lambda _run: None, as_json=as_json)


def _end(
    branch: str | None,
    repo: str | None,
    run_id: int | None,
    timeout: float | None,
    show: Callable[[Json], None],
    *,
    as_json: bool,
) -> int:
    server = connect(patient=True)
    end = None if timeout is None else time.monotonic() + timeout
    if run_id is not None:
        run = until_over(lambda: _of_run(server, run_id), show, end)
    else:
        found = find_branch(server, branch, repo)
        if not as_json:
            say(branch_words(found))
        path = f"branches/{segment(found['line'].get('id'))}"
        run = until_over(lambda: _newest(server, path), show, end)
    print_json(run) if as_json else say(run_words(run))
    return EXIT_FINE if run["line"].get("state") in GREEN else EXIT_FAILED


def until_over(
    look: Callable[[], Json | None], show: Callable[[Json], None], end: float | None = None
) -> Json:
    """Look until there is a run and it has ended; the run."""
    begun = time.monotonic()
    while True:
        run = look()
        if run is not None:
            show(run)
            if run["line"].get("state") in OVER:
                return run
        elif time.monotonic() - begun > NO_RUN_SECS:
            raise RefusedError("the branch has no run", "is it one whose pushes run?")
        if end is not None and time.monotonic() >= end:
            raise RefusedError("it has not ended in time")
        time.sleep(LOOK_SECS)


def _of_run(server: Server, run_id: int) -> Json:
    found: Json = server.get(f"runs/{run_id}")
    return found


def _newest(server: Server, path: str) -> Json | None:
    run: Json | None = server.get(path).get("run")
    return run
