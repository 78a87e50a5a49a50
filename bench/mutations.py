"""Damage whatever is read below a state root, at random, and read it: what goes wrong?

python bench/mutations.py --count 5000 --seed 1
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

from paired import ROOT, workshop

sys.path.insert(0, str(ROOT / "tests"))

from mutated import DEAD, FILES, OVER, ROOT_FILES, WHOLE, Victim, inside, seeded


def main() -> int:
    """Print what went wrong; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    choose = seeded(asked.seed)
    wrong: Counter[str] = Counter()
    with workshop() as place:
        os.environ["XDG_CONFIG_HOME"] = str(place / "config")
        victim = Victim(Path(place))
        for _ in range(asked.count):
            file = choose.choice(FILES + ROOT_FILES)
            is_whole = "." not in file or choose.random() < 1 / 4
            way = choose.choice(WHOLE) if is_whole else inside(choose)
            wrong.update(victim.wrong(choose.choice([OVER, DEAD]), [(file, way)]))
    for why, count in wrong.most_common():
        print(count, why)
    print(f"{asked.count} mutations with the seed {asked.seed}: {wrong.total()} went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
