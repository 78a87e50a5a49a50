"""`ph logs`."""

from __future__ import annotations

import click

from ph import options
from ph.following import Follower, Log, Screen, newest_attempt
from ph.forge import Json, find_lane, rows
from ph.screen import note, print_json
from ph.server import Server, connect, segment

ORDER = ("failed", "running")


@click.command("logs")
@options.of_a_lane
@click.option("-f", "--follow", is_flag=True, help="Go on until the lane has ended.")
@click.option("--job", metavar="JOB", help="The job; by default the first that failed, or runs.")
@click.option("--kind", type=click.Choice(["host", "guest"]), help="One of its two logs.")
@click.option("--attempt", type=int, metavar="N", help="The attempt; by default the newest.")
@click.option("--offset", type=int, default=0, metavar="BYTES", help="Begin there.")
def logs_command(
    lane: str,
    branch: str | None,
    repo: str | None,
    job: str | None,
    kind: str | None,
    attempt: int | None,
    offset: int,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Print the log of a lane: the host's, then the guest's if the job had one.

    To a terminal, what would control it is left out; into a file or a pipe go the very bytes.
    """
    server = connect(patient=follow)
    _, found = find_lane(server, lane, branch, repo)
    query: dict[str, object] = {"kind": kind, "job": job}
    screen = Screen()
    if follow:
        Follower(server, found, query, attempt, screen).follow(offset)
        screen.end()
        return
    if job is None:
        query["job"] = _job(server, found, attempt or newest_attempt(found))
    log = Log(server, int(found["id"]), {**query, "attempt": attempt}, offset)
    if as_json:
        text = log.read().decode("utf-8", "backslashreplace")
        place = {"offset": offset, "next_offset": log.offset, "is_over": log.is_over}
        print_json({"lane": found["id"], "job": query["job"], "text": text, **place})
        return
    while data := log.read():
        screen.show(data)
    screen.end()


def _job(server: Server, lane: Json, attempt: int) -> str | None:
    """The job that matters, if a run has several; the others are named on stderr."""
    runs = [each for each in rows(lane, "attempts") if each.get("number") == attempt]
    if not runs:
        return None
    record = server.get(f"pikaci/runs/{segment(runs[0].get('pikaci_run_id'))}")
    jobs = {str(job.get("id")): job.get("status") for job in rows(record, "jobs")}
    if len(jobs) < 2:  # noqa: PLR2004 - none to choose from
        return None
    chosen = next((job for each in ORDER for job in jobs if jobs[job] == each), next(iter(jobs)))
    others = ", ".join(job for job in jobs if job != chosen)
    note(f"job {chosen}; --job names another: {others}")
    return chosen
