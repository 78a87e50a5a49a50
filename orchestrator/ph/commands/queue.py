"""`ph queue`, `ph drain` and `ph resume`."""

from __future__ import annotations

import click

from ph import options
from ph.commands.lanes import report
from ph.forge import HEADS, Json, rows
from ph.screen import ago, duration, print_json, say, table
from ph.server import connect, segment


@click.group("queue", invoke_without_command=True)
@options.json_output
@click.option("--cursor", metavar="CURSOR", help="Go on there.")
@click.pass_context
def queue_command(ctx: click.Context, cursor: str | None, *, as_json: bool) -> None:
    """List what runs, what waits and for what, and the workers."""
    if ctx.invoked_subcommand is not None:
        return
    queue: Json = connect().get("queue", cursor=cursor)
    if as_json:
        print_json(queue)
        return
    if queue.get("paused"):
        say(f"paused: {queue['paused']}")
    now = queue.get("now")
    running = [
        (each.get("id"), _where(each), each.get("worker"), _since(each.get("begun_at"), now))
        for each in rows(queue, "running")
    ]
    if running:
        say(table(("RUNS", "LANE", "WORKER", "FOR"), running) + "\n")
    waiting = [
        (each.get("id"), _where(each), (each.get("wait") or {}).get("words"))
        for each in rows(queue, "waiting")
    ]
    if waiting:
        say(table(("WAITS", "LANE", "FOR WHAT"), waiting) + "\n")
    if not running and not waiting:
        say("nothing runs or waits\n")
    workers = [
        (
            each.get("name"),
            "silent" if each.get("is_silent") else each.get("state"),
            f"{each.get('busy')} of {each.get('slots')}",
            ago(each.get("seen_at"), now),
        )
        for each in rows(queue, "workers")
    ]
    say(table(("WORKER", "STATE", "BUSY", "SEEN"), workers) if workers else "no worker is known")
    if queue.get("next"):
        say(f"\nmore: ph queue --cursor {queue['next']}")


@queue_command.command("pause")
@options.why
@options.json_output
def pause_command(why: str, *, as_json: bool) -> None:
    """Let no lane begin; what runs ends. For admins."""
    report(connect().post("queue/pause", why=why), as_json=as_json)


@queue_command.command("resume")
@options.why_if_any
@options.json_output
def resume_queue_command(why: str, *, as_json: bool) -> None:
    """Let lanes begin again. For admins."""
    report(connect().post("queue/resume", why=why), as_json=as_json)


@click.command("drain")
@click.argument("worker")
@options.why
@options.json_output
def drain_command(worker: str, why: str, *, as_json: bool) -> None:
    """Let a worker finish what it has and take nothing new. For admins."""
    report(connect().post(f"workers/{segment(worker)}/drain", why=why), as_json=as_json)


@click.command("resume")
@click.argument("worker")
@options.why_if_any
@options.json_output
def resume_command(worker: str, why: str, *, as_json: bool) -> None:
    """Let a drained worker take lanes again. For admins."""
    report(connect().post(f"workers/{segment(worker)}/resume", why=why), as_json=as_json)


def _where(lane: Json) -> str:
    ref = str(lane.get("ref")).removeprefix(HEADS)
    return f"{lane.get('name')} of {lane.get('repo')} {ref} #{lane.get('run_id')}"


def _since(then: float | None, now: float | None) -> str:
    return "" if then is None or now is None else duration(now - then)
