"""The forge against Buildbot, both fed by an HTTP post as from a hook, on this machine, in turn.

Each has SQLite and one local worker with two slots, and runs the same command.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from buildbot_place import Buildbot, buildbot
from forge_claim import claiming, fill
from forge_place import PIKA_GIT, Forge, forge
from paired import (
    Command,
    Pair,
    at_most_more,
    at_most_times,
    line,
    pair,
    workshop,
    yes,
)
from processes import cpu_ms, resident_mib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 15
SLOW_ROUNDS = 3
LANES = 200
QUEUED = 10_000
FOLLOWED_LINES = 40
POLL_SECS = 0.0005
MEMORY = 0.8
LIMIT_SECS = 60.0
POSTED = "post to the command's start"
BUILDBOT = "Buildbot 4.3"


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--slow-rounds", type=int, default=SLOW_ROUNDS)
    parser.add_argument("--lanes", type=int, default=LANES, help="how many are queued no-ops")
    rows = ("start", "many", "claim", "queue", "log", "help")
    parser.add_argument(
        "rows", nargs="*", default=rows, metavar="ROW", help=f"of {', '.join(rows)}"
    )
    asked = parser.parse_args()
    measures: dict[str, Callable[[Path], None]] = {
        "start": lambda place: to_the_start(place, asked.rounds),
        "many": lambda place: many_lanes(place, asked.slow_rounds, asked.lanes),
        "claim": lambda place: claims(place, asked.rounds),
        "queue": lambda place: queue_page(place, asked.rounds),
        "log": follower,
        "help": lambda _: start_of_ph(),
    }
    with workshop() as place:
        for name in asked.rows:
            measures[name](place)
            sys.stdout.flush()


def to_the_start(place: Path, rounds: int) -> None:
    """From the post until the command has begun: Buildbot, the forge, and `pikaci run` by hand."""
    out = place / "started"
    out.touch()
    command = f"date >> {out}"
    took: dict[str, list[float]] = {"buildbot": [], "forge": [], "by hand": []}
    with buildbot(place / "buildbot", command) as other, forge(place / "forge", command) as ours:
        for number in range(1, rounds + 2):
            with _until_it_grows(out, took["buildbot"]):
                other.post(number)
            other.wait(number)
            head = ours.push(number)
            with _until_it_grows(out, took["forge"]):
                ours.post()
            ours.wait(number)
            with _until_it_grows(out, took["by hand"]):
                running = ours.bare_run(head)
            running.wait()
    first, second, third = (statistics.median(found[1:]) for found in took.values())
    print(at_most_times(POSTED, BUILDBOT, Pair(first, second), 0.8))
    print(at_most_more(f"{POSTED}, again", "`pikaci run` to it", Pair(third, second), 60))


@contextmanager
def _until_it_grows(out: Path, took: list[float]) -> Iterator[None]:
    size = out.stat().st_size
    start = time.perf_counter()
    yield
    while out.stat().st_size == size:
        if time.perf_counter() - start > LIMIT_SECS:
            raise SystemExit("the command was not started")
        time.sleep(POLL_SECS)
    took.append((time.perf_counter() - start) * 1000)


def many_lanes(place: Path, rounds: int, lanes: int) -> None:
    """Queued no-op lanes until all are done, what the service takes for each, and its memory."""
    took: dict[str, list[float]] = {"buildbot": [], "forge": []}
    used: dict[str, list[float]] = {"buildbot": [], "forge": []}
    with (
        buildbot(place / "buildbot-many", "true", builders=2) as other,
        forge(place / "forge-many", "true", lanes=lanes) as ours,
    ):
        memory = Pair(0, 0)
        for number in range(1, rounds + 1):
            before = cpu_ms(other.master), cpu_ms(ours.service)
            took["buildbot"].append(_through_buildbot(other, number, lanes))
            took["forge"].append(_through_forge(ours, number, lanes))
            used["buildbot"].append((cpu_ms(other.master) - before[0]) / lanes)
            used["forge"].append((cpu_ms(ours.service) - before[1]) / lanes)
            if number == 1:
                memory = Pair(resident_mib(other.master), resident_mib(ours.service))
    many = Pair(*(statistics.median(found) for found in took.values()))
    each = Pair(*(statistics.median(found) for found in used.values()))
    print(
        at_most_times(
            f"{lanes} queued no-op lanes to done", f"{BUILDBOT}, two builders", many, 0.75
        )
    )
    what = "the service's CPU time for each of these"
    print(at_most_times(what, f"{BUILDBOT}'s master", each, 0.1))
    found = f"{memory.ratio:.2f} x"
    figures = (f"{memory.floor_ms:.0f} MiB", f"{memory.subject_ms:.0f} MiB")
    what = f"the service's resident memory after {lanes} runs"
    print(
        line(
            [
                what,
                f"{BUILDBOT}'s master",
                *figures,
                found,
                "0.8 x",
                yes(met=memory.ratio <= MEMORY),
            ]
        )
    )


def _through_buildbot(other: Buildbot, number: int, lanes: int) -> float:
    other.hold()
    for change in range(lanes // other.builders):
        other.post(change)
    while other.count(complete=False) < lanes:
        time.sleep(0.01)
    start = time.perf_counter()
    other.release()
    other.wait(lanes * number)
    return (time.perf_counter() - start) * 1000


def _through_forge(ours: Forge, number: int, lanes: int) -> float:
    ours.hold()
    ours.push(number)
    ours.post()
    while ours.count(complete=False) < lanes:
        time.sleep(0.01)
    start = time.perf_counter()
    ours.release()
    ours.wait(lanes * number)
    return (time.perf_counter() - start) * 1000


def claims(place: Path, rounds: int) -> None:
    """One claim with few and with many lanes in the queue."""
    with claiming(place / "few.db", 100) as few, claiming(place / "many.db", QUEUED) as many:
        measured = pair(few, many, rounds)
    work = f"a claim with {QUEUED:,} queued lanes"
    print(at_most_times(work, "the same with 100", measured, 1.2))


def queue_page(place: Path, rounds: int) -> None:
    """What a person sees of a long queue."""
    with (
        buildbot(place / "buildbot-queue", "true") as other,
        forge(place / "forge-queue", "true", works=False) as ours,
    ):
        other.fill(QUEUED)
        fill(ours.data / "forge.db", QUEUED)
        request = urllib.request.Request(
            f"{ours.url}/queue", headers={"Authorization": f"Bearer {ours.token}"}
        )
        measured = pair(
            lambda: other.get("buildrequests?limit=50"),
            lambda: urllib.request.urlopen(request, timeout=LIMIT_SECS).read(),
            rounds,
        )
    work = f"the page of a queue of {QUEUED:,}"
    print(at_most_times(work, f"{BUILDBOT}, `buildrequests?limit=50`", measured, 0.2))


def follower(place: Path) -> None:
    """From a line that a lane prints until a follower has it."""
    command = f"sleep 1; for i in $(seq {FOLLOWED_LINES}); do date +@%s.%N; sleep 0.05; done"
    late = []
    with forge(place / "forge-log", command) as ours:
        ours.push(1)
        ours.post()
        while not (lane := ours.ask("SELECT id FROM lane WHERE state = 'running'")):
            time.sleep(POLL_SECS)
        headers = {"Authorization": f"Bearer {ours.token}"}
        url = f"{ours.url}/api/v1/lanes/{lane[0][0]}/log/stream"
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=LIMIT_SECS) as stream:
            for row in stream:
                now = time.time()
                if row.startswith(b"data:") and b"@" in row:
                    text = json.dumps(json.loads(row[5:]))
                    printed = [float(part.split("\\")[0]) for part in text.split("@")[1:]]
                    late += [(now - at) * 1000 for at in printed]
                if row.startswith(b"event: end"):
                    break
    found = statistics.median(late)
    cells = [
        "a line that is printed, until a follower has it",
        "",
        "",
        f"{found:.1f}",
        "",
        "100 ms",
    ]
    print(line([*cells, yes(met=found <= 100 and len(late) == FOLLOWED_LINES)]))  # noqa: PLR2004


def start_of_ph() -> None:
    """The start of the operator's command line."""
    floor = Command([sys.executable, "-c", "import click"])
    subject = Command([str(Path(PIKA_GIT).with_name("ph")), "--help"])
    print(at_most_times("`ph --help`", "`python -c 'import click'`", pair(floor, subject), 1.5))


if __name__ == "__main__":
    main()
