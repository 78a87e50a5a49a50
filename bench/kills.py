"""Send signals at random moments to random processes of runs, and check what they leave.

python bench/kills.py --count 500 --seed 1
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from e2e.project import Project
from jerichoci.system import own_system
from killing import kill_once
from usertree import IDENTITY, UserTree


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
                kill = kill_once(project_in(Path(directory)), random.Random(seed))  # noqa: S311 - can be repeated
            except AssertionError as error:
                ends["wrong"] += 1
                print(f"seed {seed}: {error}", file=sys.stderr)
            else:
                ends[kill.status] += 1
                print(seed, kill.signal.name, kill.code, kill.status, kill.victim, flush=True)
    print(dict(ends))
    sys.exit(1 if ends["wrong"] else 0)


def project_in(directory: Path) -> Project:
    """A repository and a state root of its own."""
    for name in ("repo", "home"):
        (directory / name).mkdir()
    project = Project(
        tree=UserTree(directory / "repo"),
        state=directory / "state",
        token=secrets.token_hex(8),
        system=own_system(),
        environment=IDENTITY | {"HOME": str(directory / "home"), "LC_ALL": "C.UTF-8"},
    )
    project.tree.init()
    return project


if __name__ == "__main__":
    main()
