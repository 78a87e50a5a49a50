"""`ph watch` and `ph wait`: until a branch's lanes have ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ph import checkout, options
from ph.errors import EXIT_FAILED, EXIT_FINE, RefusedError
from ph.forge import GREEN, OVER, find_repo, look_for_branch, rows
from ph.screen import print_json, say
from ph.server import Server, connect
from ph.words import clock, lane_words, run_words

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
        name = branch or checkout.current_branch()
        found = find_repo(server, repo)
        pushed = checkout.pushed_commit(name)
        run = until_over(lambda: _newest(server, found, name, pushed), show, end)
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
            raise RefusedError(
                "the server has no run of what was pushed", "is it a branch whose pushes run?"
            )
        if end is not None and time.monotonic() >= end:
            raise RefusedError("it has not ended in time")
        time.sleep(LOOK_SECS)


def _of_run(server: Server, run_id: int) -> Json:
    found: Json = server.get(f"runs/{run_id}")
    return found


def _newest(server: Server, repo: Json, name: str, pushed: str | None) -> Json | None:
    """A branch's newest run; None while that is of an older head than was pushed.

    The server sees a push a moment after it. If its head is not known here, another has pushed
    since.
    """
    found = look_for_branch(server, repo, name)
    if found is None or not found.get("run"):
        return None
    head, run = str(found["line"].get("head")), found["run"]
    if run["line"].get("kind") == "branch" and run["line"].get("head") != head:
        return None
    if pushed is not None and head != pushed and checkout.has_commit(head):
        return None
    return dict(run)
