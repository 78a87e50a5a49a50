"""`ph explain` and `ph repro`."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from ph import checkout, options
from ph.forge import find_lane, find_repo, rows
from ph.screen import print_json, say
from ph.server import connect
from ph.words import attempt_words, cause_lines, tests_lines, waits_table

if TYPE_CHECKING:
    from ph.forge import Json


@click.command("explain")
@options.of_a_lane
def explain_command(lane: str, branch: str | None, repo: str | None, *, as_json: bool) -> None:
    """Tell a lane's story: why it ran, what it waited for and how long, how each attempt ended."""
    run, found = find_lane(connect(), lane, branch, repo)
    if as_json:
        print_json(found)
        return
    now = run.get("now") or time.time()
    line = run["line"]
    name, number = found.get("name"), found.get("id")
    say(f"{name} (lane {number}) of run {line.get('id')}: {found.get('state')}")
    say(f"{found.get('sentence')}")
    say(f"it runs because: {found.get('why')}")
    wait = found.get("wait") or {}
    if wait.get("ends"):
        say(f"it waits until {wait['ends']}")
    for sentence in cause_lines(found):
        say(sentence)
    for sentence in tests_lines(found):
        say(sentence)
    if waits := waits_table(found, now):
        say(f"\n{waits}")
    lines = [attempt_words(each, now) for each in rows(found, "attempts")]
    lines += [_act(each) for each in rows(found, "acts")]
    lines += [str(problem) for problem in found.get("problems") or []]
    if lines:
        say("\n" + "\n".join(lines))


def _act(act: Json) -> str:
    why = f": {act['why']}" if act.get("why") else ""
    return f"{act.get('who')} did {act.get('action')}{why}"


@click.command("repro")
@options.of_a_lane
def repro_command(lane: str, branch: str | None, repo: str | None, *, as_json: bool) -> None:
    """Print the command that runs a lane's target here, at the very commit."""
    server = connect()
    run, found = find_lane(server, lane, branch, repo)
    url = next(iter(checkout.remote_urls()), None)
    if url is None:
        url = str(find_repo(server, run.get("repo")).get("path"))
    command = repro(str(found.get("target")), url, str(run["line"].get("head")))
    if as_json:
        print_json({"command": command, "target": found.get("target"), "rev": run["line"]["head"]})
    else:
        say(command)


def repro(target: str, url: str, rev: str) -> str:
    """`pikaci run TARGET --source git+URL?rev=REV`, for a shell."""
    path = checkout.path_of(url)
    if "://" in url:
        full = url
    elif path == url:
        full = f"file://{quote(path)}"
    else:
        host = url.partition(":")[0]
        full = f"ssh://{host}/{quote(path.lstrip('/'))}"
    return shlex.join(["pikaci", "run", target, "--source", f"git+{full}?rev={rev}"])
