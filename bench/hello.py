"""`pikaci run hello` with everything cached, against the script `by-hand.sh`."""

from __future__ import annotations

import os
from pathlib import Path

from fixtures import checkout
from paired import PIKACI, Command, at_most_more, pair, workshop

SCRIPT = Path(__file__).with_name("by-hand.sh")


def main() -> None:
    """Print the row."""
    with workshop() as place:
        tree = checkout(place / "tree")
        by_hand, state = place / "by-hand", place / "state"
        by_hand.mkdir()
        caches = {**os.environ, "XDG_CACHE_HOME": str(by_hand / "cache")}
        floor = Command([str(SCRIPT), "hello", str(by_hand)], cwd=tree, env=caches)
        subject = Command([PIKACI, "run", "hello", "--state-root", str(state)], cwd=tree)
        measured = pair(floor, subject)
        passed = (by_hand / "artifacts" / "greeting.txt").read_bytes()
        artifact = next((state / "runs").glob("*/jobs/greet/attempts/1/artifacts/files/*.txt"))
        if artifact.read_bytes() != passed:
            raise SystemExit("the two did not do the same")
    work = "`pikaci run hello`, everything cached"
    print(at_most_more(work, "`bench/by-hand.sh hello`", measured, 150))


if __name__ == "__main__":
    main()
