"""Run every bench, one after the other, and put the rows into the table of README.md.

With `--against REV`, measure today's build against that commit's, too.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

from paired import COLUMNS, line

HERE = Path(__file__).resolve().parent
BENCHES = (
    "startup.py",
    "hello.py",
    "snapshot.py",
    "listing.py",
    "output.py",
    "redaction.py",
    "world.py",
    "report.py",
    "many_jobs.py",
    "batch.py",
    "evaluation_cost.py",
    "incus_guests.py",
    "remote_guests.py",
    "remote_hosts.py",
    "forge.py",
)
README = HERE / "README.md"
BEGIN, END = "<!-- table: written by all.py -->\n", "<!-- end of table -->\n"


def main() -> None:
    """Measure everything."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--against", metavar="REV")
    rev = asked.parse_args().against
    rows = [line(COLUMNS), line(["---"] * len(COLUMNS))]
    for bench, *arguments in [
        *([bench] for bench in BENCHES),
        *([["against.py", rev]] if rev else []),
    ]:
        done = subprocess.run(
            [sys.executable, HERE / bench, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = [row for row in done.stdout.splitlines() if row.startswith("| ")]
        print("\n".join(found), flush=True)
        rows += found
    table = "".join(f"{row}\n" for row in [machine(), "", *rows])
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


def machine() -> str:
    """What it was measured on, in a line."""
    versions = [
        subprocess.run(
            [tool, "--version"], capture_output=True, text=True, check=True
        ).stdout.split()[-1]
        for tool in ("nix", "git")
    ]
    return (
        f"{os.cpu_count()} CPUs, {platform.system()} {platform.release()} on {platform.machine()},"
        f" Python {platform.python_version()}, Nix {versions[0]}, git {versions[1]}."
    )


if __name__ == "__main__":
    main()
