"""Send signals at random moments to random processes of runs, and check what they leave.

python bench/kills.py --count 500 --seed 1
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from e2e.project import Project
from killing import kill_once


def main() -> None:
    """Do as the command line says; the exit code is 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=500)
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    ends: Counter[str] = Counter()
    for number in range(asked.count):
        seed = asked.seed * 1_000_000 + number
        with tempfile.TemporaryDirectory(prefix="pikaci-kills-") as directory:
            try:
                project = Project.below(Path(directory))
                project.tree.init()
                kill = kill_once(project, random.Random(seed))  # noqa: S311 - can be repeated
            except AssertionError as error:
                ends["wrong"] += 1
                print(f"seed {seed}: {error}", file=sys.stderr)
            else:
                ends[kill.status] += 1
                print(seed, kill.signal.name, kill.code, kill.status, kill.victim, flush=True)
    print(dict(ends))
    if not ends["passed"]:
        sys.exit("no run passed: is nix on PATH?")
    sys.exit(1 if ends["wrong"] else 0)


if __name__ == "__main__":
    main()
