"""How long pikaci takes to say something, against a Python that does nothing but import click."""

from __future__ import annotations

import sys

from fixtures import checkout, many_runs, one_run
from paired import PIKACI, Command, at_most_times, pair, workshop

RUNS = 20
FLOOR = "`python -c 'import click'`"


def main() -> None:
    """Print the rows."""
    floor = Command([sys.executable, "-c", "import click"])
    help_text = pair(floor, Command([PIKACI, "--help"]))
    print(at_most_times("`pikaci --help`", FLOOR, help_text, 1.5))
    with workshop() as place:
        run = one_run(checkout(place / "tree"), place / "one")
        state = many_runs(run, place / "state", RUNS)
        where = ["--state-root", str(state)]
        status = pair(floor, Command([PIKACI, "status", "latest", *where]))
        print(at_most_times(f"`pikaci status latest`, {RUNS} runs", FLOOR, status, 3))
        listing = pair(floor, Command([PIKACI, "list", *where]))
        print(at_most_times(f"`pikaci list`, {RUNS} runs", FLOOR, listing, 3))


if __name__ == "__main__":
    main()
