"""`pikaci run hello` with everything cached, against `by-hand.sh`; and with `--reuse`."""

from __future__ import annotations

import os
from pathlib import Path

from fixtures import checkout
from many_jobs import system
from paired import PIKACI, Command, at_most_times, pair, workshop

SCRIPT = Path(__file__).with_name("by-hand.sh")


def main() -> None:
    """Print the rows."""
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
        print(at_most_times(work, "`bench/by-hand.sh hello`", measured, 1.3), flush=True)
        reused = pair(evaluation(tree), Command([*subject.argv, "--reuse"], cwd=tree))
        work = "`pikaci run hello --reuse`, which takes an earlier verdict"
        print(at_most_times(work, "`nix eval` of the plan", reused, 1.3))


def evaluation(tree: Path) -> Command:
    """Nix's own evaluation of the plan at the same commit."""
    features = ("--extra-experimental-features", "nix-command flakes")
    where = f"git+file://{tree}#.pikaci.{system()}.plans.hello"
    options = ("--json", "--no-write-lock-file", "--option", "eval-cache", "false")
    return Command(["nix", *features, "eval", *options, where])


if __name__ == "__main__":
    main()
